"""A RIS that behaves badly, and two senders at once: nothing is lost, nothing is altered, a study's order is kept."""

import threading
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from pydicom import Dataset
from support.awkward_ris import BEHAVIOURS, AwkwardRis
from support.postgres import postgres_database, postgres_server
from support.story import Story, decision, flag

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.delivery.sender import Sender
from triage_agent.domain.decision import Shipment
from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY
from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine, upgrade

STUDIES = [f"1.2.{number}" for number in range(1, 11)]
RETRY = RetryPolicy(
    first=timedelta(milliseconds=10), longest=timedelta(milliseconds=50), give_up_after=timedelta(hours=1)
)
PATIENCE = 0.6  # seconds: more than an answer that is given needs, on a busy machine too


def _sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'triage.db'}"


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.external)])
def story(request, tmp_path):
    if request.param == "memory":
        yield Story(MemoryWorklist())
        return
    if request.param == "sqlite":
        yield from _over(_sqlite(tmp_path))
        return
    with postgres_server() as server, postgres_database(server, "awkward") as url:
        yield from _over(url)


def _over(url):
    upgrade(url)
    engine = open_engine(url)
    yield Story(SqlWorklist(engine))
    engine.dispose()


def shipments(result, *kinds):
    """Real messages of a result."""
    header = Dataset()
    header.StudyInstanceUID, header.PatientID = result.study_instance_uid, "P1"
    context = ResultContext(result=result, headers=(header,), form=Hl7Form(version="2.5"))
    return [Shipment(artifact=REGISTRY[kind].build(context), destination="ris") for kind in kinds]


def raised_and_decided(story, study):
    """A study's course: a flag, with a changed order, and its decision; returns the control ids of each kind."""
    story.receive(study)
    flagged = flag(study, image=f"{study}.1")
    first = shipments(flagged, ArtifactKind.HL7_ORU, ArtifactKind.HL7_OMI)
    assert story.worklist.raise_flag(flagged, first, story.tick())
    story.complete(study)
    story.claim()
    last = shipments(decision(study), ArtifactKind.HL7_ORU)
    assert story.decide(*last, study=study)
    flag_told, order_changed, decision_told = (one.artifact.body.split(b"|")[9].decode() for one in (*first, *last))
    return [flag_told, decision_told], [order_changed]


def sender_to(story, port, name):
    endpoint = Endpoint(host="127.0.0.1", port=port, answer_seconds=PATIENCE)
    return Sender(
        worklist=story.worklist,
        transports={"ris": MllpTransport(endpoint)},
        clock=lambda: datetime.now(UTC),
        rng=Random(name),
        owner=name,
        lease=timedelta(seconds=30),
        retry=RETRY,
    )


def run_until_sent(story, senders):
    done = threading.Event()
    threads = [threading.Thread(target=_work, args=(sender, done)) for sender in senders]
    for thread in threads:
        thread.start()
    ends = datetime.now(UTC) + timedelta(seconds=120)
    while datetime.now(UTC) < ends and not _all_sent(story):
        done.wait(0.1)
    done.set()
    for thread in threads:
        thread.join(30)
    for sender in senders:
        sender.close()


def _work(sender, done):
    while not done.is_set():
        if sender.run_once("ris") == 0:
            done.wait(0.01)


def _all_sent(story):
    rows = [row for study in STUDIES for row in story.worklist.study(study).deliveries]
    return all(row.state is DeliveryState.SENT for row in rows)


def test_whatever_a_ris_does_each_message_arrives_as_it_is_and_a_study_s_of_one_kind_in_their_order(story):
    wanted = {study: raised_and_decided(story, study) for study in STUDIES}
    ris = AwkwardRis(seed=0, patience=PATIENCE)
    try:
        run_until_sent(story, [sender_to(story, ris.port, name) for name in ("s1", "s2")])
    finally:
        ris.close()
    assert _all_sent(story)
    assert ris.met == set(BEHAVIOURS)

    taken = [own for own, _ in ris.taken]
    chains = [(study, ids) for study, kinds in wanted.items() for ids in kinds]
    assert set(taken) == {own for _, ids in chains for own in ids}  # nothing is lost, nothing is invented
    bodies = {own: {body for one, body in ris.arrived if one == own} for own in taken}
    assert {len(one) for one in bodies.values()} == {1}  # what comes again is the same message
    for study, ids in chains:
        firsts = [own for own in dict.fromkeys(taken) if own in ids]
        assert firsts == ids, study
        # Not even a repetition of an earlier message comes after a later one was taken.
        places = [ids.index(own) for own in taken if own in ids]
        assert places == sorted(places), study
