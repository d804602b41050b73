"""A hospital to look at: phantoms of every region, some raised, some that need a human; nobody is real."""

from datetime import timedelta
from random import Random

from support import story
from support.evidence import map_of, spot
from support.story import RULE

from triage_agent.domain.decision import Shipment
from triage_agent.domain.feedback import Verdict
from triage_agent.domain.orders import Message, Order
from triage_agent.domain.study import Assessment, InstanceHeader, ReceivedInstance
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority
from triage_agent.results.context import ResultContext
from triage_agent.results.evidence_state import build_evidence_state
from triage_agent.results.structured_report import build_structured_report
from triage_agent.simulation.phantom import ANATOMIES, simulate_study, study_datasets

LONG_SIDE = 512
_LAST = 5  # of eight studies: it still comes in
_PLACES = ("ED room 4", "ED bay 11", "Ward 3B", "Outpatients")


def fill(hospital, studies=24, seed=7, long_side=LONG_SIDE):
    """Studies of the last hours; returns the UID of the one to show: raised, with two views, claimed by nobody."""
    chance = Random(seed)
    now = hospital.now
    shown = None
    for number in range(studies):
        at = now - timedelta(minutes=chance.randrange(6, 400))
        at = now - timedelta(seconds=20) if _comes_in(number) else at
        uid, abnormal = _study(hospital, number, at, chance, long_side)
        shown = shown or (uid if abnormal else None)
    return shown


def _study(hospital, number, at, chance, long_side):
    worklist = hospital.worklist
    anatomy = ANATOMIES[number % len(ANATOMIES)]
    abnormal = chance.random() < 0.4
    images = study_datasets(simulate_study(anatomy, abnormal, number, long_side=long_side), number, now=at)
    uid = str(images[0].StudyInstanceUID)
    for image in images:
        path = f"{image.SOPInstanceUID}.dcm"
        image.save_as(hospital.folder / path, enforce_file_format=True)
        worklist.register(_received(image, path, at), RULE)
    if chance.random() < 0.6:
        _order(worklist, images[0], at, chance)
    if _comes_in(number):
        return uid, False
    later = at + timedelta(seconds=35)
    view = next(one for one in worklist.due_for_completion(later) if one.study_instance_uid == uid)
    worklist.complete(view, "no image for 30 s", later)
    assert worklist.claim_study("w1", later, timedelta(minutes=1)).study_instance_uid == uid
    return uid, _decide(hospital, images, anatomy, abnormal, number, later, chance) is Finding.ABNORMAL


def _comes_in(number):
    return number % 8 == _LAST


def _received(image, path, at):
    header = InstanceHeader(
        study_instance_uid=str(image.StudyInstanceUID),
        series_instance_uid=str(image.SeriesInstanceUID),
        sop_instance_uid=str(image.SOPInstanceUID),
        sop_class_uid=str(image.SOPClassUID),
        transfer_syntax_uid=str(image.file_meta.TransferSyntaxUID),
        accession_number=str(image.AccessionNumber),
        patient_id=str(image.PatientID),
        patient_name=str(image.PatientName),
    )
    return ReceivedInstance(header=header, path=path, sha256="0" * 64, size=1, source="PACS", received_at=at)


def _order(worklist, image, at, chance):
    place = chance.choice(_PLACES)
    order = Order(
        accession_number=str(image.AccessionNumber),
        patient_location=place,
        patient_class="E" if place.startswith("ED") else "O",
        priority=chance.choices(list(Priority), [6, 2, 1])[0],
    )
    worklist.keep_orders([order], Message(control_id=str(image.AccessionNumber), sender="RIS", received_at=at))


def _decide(hospital, images, anatomy, abnormal, number, at, chance):
    worklist, uid = hospital.worklist, str(images[0].StudyInstanceUID)
    if number % 11 == 4:
        failed = {"event": Event.FAILED, "finding": Finding.NOT_ASSESSED, "probability": None}
        why = {"status_reason": "cannot be decoded: the pixel data end early", "rule": "not assessed"}
        result = story.decision(uid, at=at, priority=Priority.ROUTINE, anatomy=anatomy, **failed, **why)
        worklist.decide(result, [], [], "w1")
        return result.finding
    uncertain = number % 7 == 3
    probability = (
        chance.uniform(0.45, 0.55)
        if uncertain
        else chance.uniform(0.8, 0.98)
        if abnormal
        else chance.uniform(0.02, 0.3)
    )
    finding = Finding.UNCERTAIN if uncertain else Finding.ABNORMAL if abnormal else Finding.NORMAL
    scored = [
        Assessment(
            sop_instance_uid=str(one.SOPInstanceUID),
            outcome=Outcome.SCORED,
            probability=min(0.99, max(0.01, probability + chance.uniform(-0.05, 0.05))),
            anatomy=anatomy,
        )
        for one in images
    ]
    result = story.decision(
        uid,
        at=at,
        finding=finding,
        probability=probability,
        priority=Priority.URGENT if finding is Finding.ABNORMAL else Priority.ROUTINE,
        anatomy=anatomy,
        rule=finding.value,
        reasons=(f"the mean of {len(images)} images is {probability:.2f}, the threshold of the bundle 0.50",),
    )
    report = build_structured_report(ResultContext(result=result, headers=tuple(images), assessments=tuple(scored)))
    shipments = [Shipment(artifact=report, destination="pacs")]
    if finding is Finding.ABNORMAL:
        shipments.append(Shipment(artifact=_evidence(result, images, scored), destination="pacs"))
    worklist.decide(result, scored, shipments, "w1")
    for delivery in worklist.claim_deliveries("s1", at, timedelta(minutes=1), 10):
        worklist.delivery_sent(delivery, at + timedelta(seconds=1))
    if finding is not Finding.UNCERTAIN:
        verdict = Verdict.AGREE if chance.random() < 0.8 else Verdict.OVERCALLED if abnormal else Verdict.MISSED
        hospital.feedback.give(uid, "a.lind", verdict, "", at + timedelta(minutes=3))
    return finding


def _evidence(result, images, scored):
    """Somewhere in the middle of each image: what a map looks like, and no map of anything."""
    maps = {
        str(one.SOPInstanceUID): map_of(
            str(one.SOPInstanceUID),
            spot(one.Rows, one.Columns, one.Rows * 0.62, one.Columns * 0.45, min(one.Rows, one.Columns) / 6),
        )
        for one in images
    }
    return build_evidence_state(
        ResultContext(result=result, headers=tuple(images), assessments=tuple(scored), maps=maps)
    )
