"""Measures what grows with the images of a study, with what waits, and with the loops that work at once."""

import threading
import time
from datetime import UTC, datetime, timedelta

from support.growthbench import Stopwatch, _resident
from support.instances import part10
from support.launcher import QuickScorer
from support.story import LEASE, RULE, SECOND, received, scored
from support.xrays import picture, radiograph

from triage_agent.decision.rules import DEFAULT_POLICY
from triage_agent.domain.decision import Route
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.imaging.isolated.pool import Decoders, Limits
from triage_agent.pipeline import Observer, Pipeline
from triage_agent.worklist import SqlWorklist, open_engine, upgrade

_ROWS, _COLUMNS = 72, 64  # as small as the quality gate lets images be: what grows is not the pixels
_BATCH = 8
_ROUTES = (Route(to="pacs", send=(ArtifactKind.SR,)), Route(to="ris", send=(ArtifactKind.HL7_ORU,)))


# --- images of one study ----------------------------------------------------------------------------------------------
def with_images(url, spool, images):
    """A study of so many images, from its first one to its results in the outbox; in a process of its own."""
    upgrade(url)
    engine = open_engine(url)
    worklist, now, watch = SqlWorklist(engine), datetime.now(UTC), Stopwatch()
    uids = _write(spool, images)
    before = _resident()
    for number, uid in enumerate(uids):
        with watch.of("receive, an image"):
            worklist.register(received("1.2.3", uid, now + number * timedelta(milliseconds=1)), RULE)
    with Decoders(Limits(seconds=60, memory_mb=2048)) as decoders:
        pipeline = _pipeline(worklist, spool, decoders, lambda: now + SECOND)
        while claimed := worklist.claim_images("w", now + SECOND, LEASE, _BATCH):
            with watch.of(f"score, {_BATCH} images"):
                pipeline.score_images(claimed)
        done = now + RULE.max_wait
        (view,) = worklist.due_for_completion(done)
        assert worklist.complete(view, "no image for 30 s", done)
        with watch.of("claim the study"):
            study = worklist.claim_study("w", done, LEASE)
        with watch.of("decide, with its results"):
            assert pipeline.decide_study(study, "w")
    sent = worklist.claim_deliveries("s", done + LEASE, LEASE, 10)
    found = {
        "images": images,
        "work": watch.document(),
        "resident_mb": round(_resident(), 1),
        "resident_before_mb": round(before, 1),
        "report_kb": round(max(len(one.artifact.body) for one in sent) / 1000, 1),
    }
    assert {one.destination for one in sent} == {"pacs", "ris"}
    engine.dispose()
    return found


def _write(spool, images):
    """Files as the receiver leaves them, of one picture; their SOP Instance UIDs."""
    spool.mkdir(parents=True, exist_ok=True)
    image, uids = radiograph(picture(1, _ROWS, _COLUMNS), study="1.2.3"), []
    for number in range(1, images + 1):
        image.SOPInstanceUID = f"1.2.3.{number}"
        (spool / f"{image.SOPInstanceUID}.dcm").write_bytes(part10(image))
        uids.append(str(image.SOPInstanceUID))
    return uids


def _pipeline(worklist, spool, loader, clock):
    return Pipeline(
        worklist=worklist,
        spool=spool,
        loader=loader,
        scorer=QuickScorer(),
        policy=DEFAULT_POLICY,
        routes=_ROUTES,
        institution="",
        clock=clock,
        observer=Observer(assessed=lambda *_: None, flagged=lambda _: None, decided=lambda *_: None),
        batch=_BATCH,
    )


# --- what waits -------------------------------------------------------------------------------------------------------
def with_backlog(url, waiting, rounds):
    """What taking the next piece of work costs while so many wait behind it."""
    upgrade(url)
    engine = open_engine(url)
    worklist, now, watch = SqlWorklist(engine), datetime.now(UTC), Stopwatch()
    for number in range(waiting + rounds):
        at = now + number * timedelta(milliseconds=1)
        worklist.register(received(f"1.2.{number}", f"1.2.{number}.1", at), RULE)
    done = now + RULE.max_wait
    for _ in range(rounds):
        with watch.of("claim an image"):
            (claimed,) = worklist.claim_images("w", done, LEASE, 1)
        with watch.of("keep its score"):
            assert worklist.record_assessment(claimed, scored(claimed.instance.sop_instance_uid), done)
    for _ in range(rounds):
        with watch.of("look for what is complete"):
            view, *_ = worklist.due_for_completion(done)
        assert worklist.complete(view, "no image for 30 s", done)
        with watch.of("claim a study"):
            assert worklist.claim_study("w", done, LEASE) is not None
    engine.dispose()
    return {"waiting": waiting, "work": watch.document()}


# --- loops ------------------------------------------------------------------------------------------------------------
def with_loops(url, loops, images):
    """So many loops that take an image each and keep its score, a transaction each, until none is left."""
    upgrade(url)
    engine = open_engine(url)
    worklist, now = SqlWorklist(engine), datetime.now(UTC)
    for number in range(images):
        worklist.register(received(f"1.2.{number}", f"1.2.{number}.1", now), RULE)
    done = [0] * loops

    def work(loop):
        while claimed := worklist.claim_images(f"w{loop}", now + SECOND, LEASE, 1):
            assert worklist.record_assessment(claimed[0], scored(claimed[0].instance.sop_instance_uid), now + SECOND)
            done[loop] += 1

    threads = [threading.Thread(target=work, args=(loop,)) for loop in range(loops)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    engine.dispose()
    assert sum(done) == images, f"{sum(done)} of {images} images were scored, each once"
    return {"loops": loops, "images": images, "images_a_second": round(images / took, 1), "least": min(done)}
