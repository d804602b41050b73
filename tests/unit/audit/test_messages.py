"""Audit records become DICOM audit messages that the standard's schema takes (PS3.15 section A.5)."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree
from pydicom.sr.codedict import codes

from triage_agent.audit.messages import Patient, Source, message
from triage_agent.audit.recipes import MESSAGES, WITHOUT, Event
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).parents[2] / "support" / "audit-message.rng"))
SOURCE = Source(source_id="TRIAGE", site="St. Elsewhere", ae_title="TRIAGE", host="reading-1", patients="id")
PATIENT = Patient("4711", "Doe^Jane")
DETAILS = (
    {},
    {"sop_instance_uid": "1.2.3.4", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sha256": "a" * 64, "size": 9},
    {"kind": "sr", "destination": "pacs", "uid": "2.25.7", "attempt": 1, "revision": 1},
    {"kind": "hl7-oru", "destination": "ris", "uid": "m1", "attempt": 1, "revision": 1},
    {"instances": ["1.2", "1.3"], "reason": "why"},
    {"order": 7, "new": True, "message": "M1", "priority": "stat"},
    {"address": "10.0.0.9", "reason": "\x00\ud800 bad \x1b[31m title"},
    {"peer": "pacs", "notes": [{"to": "pacs", "uid": "1.2"}], "nested": {"a": [None, 1.5, True]}},
)


def event(action, **changes):
    values = {
        "at": datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC),
        "action": action,
        "actor": "PACS",
        "study_instance_uid": "1.2.3",
        "detail": {},
    }
    return AuditEvent(**{**values, **changes})


def parsed(made):
    root = etree.fromstring(made)
    SCHEMA.assertValid(root)
    return root


def test_every_action_makes_a_message_or_is_named_as_making_none():
    for action in AuditAction:
        assert (action.value in MESSAGES) != (action.value in WITHOUT), action


@pytest.mark.parametrize("action", sorted(set(AuditAction)))
def test_whatever_a_record_says_its_message_is_valid(action):
    for detail in DETAILS:
        for study in ("1.2.3", None):
            for patient in (PATIENT, None):
                made = message(event(action, detail=detail, study_instance_uid=study), SOURCE, patient)
                assert (made is None) == (action.value in WITHOUT)
                if made is not None:
                    parsed(made)
                    assert len(made) < 8192


def test_random_text_in_every_place_stays_valid():
    rng = random.Random(3)

    def text():
        return "".join(
            chr(rng.choice([rng.randrange(0x20), rng.randrange(0x110000)])) for _ in range(rng.randrange(90))
        )

    for _ in range(150):
        action = AuditAction(rng.choice([one.value for one in AuditAction if one.value in MESSAGES]))
        given = {key: text() for key in ("reason", "peer", "address", "uid", "sop_instance_uid", "kind")}
        made = event(action, actor=text(), detail=given, study_instance_uid=text())
        parsed(message(made, replace(SOURCE, site=text()), Patient(text(), text())))


def test_codes_are_the_standard_s():
    said = [one.value for one in Event] + [recipe.type for recipe in MESSAGES.values() if recipe.type is not None]
    for one in said:
        keyword = "".join(word[0].upper() + word[1:] for word in one.meaning.split())
        assert (getattr(codes.DCM, keyword).value, one.system) == (one.code, "DCM")


def test_an_instance_that_came_is_a_transfer_from_its_sender_to_us():
    root = parsed(message(event(AuditAction.INSTANCE_RECEIVED, detail=DETAILS[1]), SOURCE, PATIENT))
    assert root.find("EventIdentification/EventID").get("csd-code") == "110104"
    assert root.find("EventIdentification").get("EventActionCode") == "C"
    assert root.find("EventIdentification").get("EventDateTime") == "2026-03-01T08:00:00.123Z"
    roles = [(one.get("UserID"), one.find("RoleIDCode").get("csd-code")) for one in root.iter("ActiveParticipant")]
    assert roles == [("PACS", "110153"), ("TRIAGE", "110152")]
    assert root.find(".//SOPClass").attrib == {"UID": "1.2.840.10008.5.1.4.1.1.1.1", "NumberOfInstances": "1"}
    assert root.find(".//Instance").get("UID") == "1.2.3.4"


def test_a_failed_delivery_says_so_and_a_message_is_an_export():
    root = parsed(message(event(AuditAction.DELIVERY_FAILED, detail=DETAILS[3]), SOURCE))
    assert root.find("EventIdentification/EventID").get("originalText") == "Export"
    assert root.find("EventIdentification").get("EventOutcomeIndicator") == "4"


@pytest.mark.parametrize(("patients", "there"), [("none", ()), ("id", ("4711",)), ("name", ("4711", "Doe^Jane"))])
def test_no_more_is_said_of_a_patient_than_the_site_wants(patients, there):
    made = message(event(AuditAction.DECISION_MADE), replace(SOURCE, patients=patients), PATIENT).decode()
    assert [word for word in ("4711", "Doe^Jane") if word in made] == list(there)
