from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from highdicom.ko import KeyObjectSelectionDocument
from pydicom import dcmread
from support.saying import read
from support.story import T0

from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.errors import TriageError
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.kept import with_header
from triage_agent.results.registry import REGISTRY
from triage_agent.results.rejection import rejection_notes

STUDY = "1.2.3.4"


@pytest.fixture(scope="module")
def made(context):
    """An artifact of each of some kinds."""
    return {kind: REGISTRY[kind].build(context()) for kind in (ArtifactKind.SR, ArtifactKind.SC, ArtifactKind.KOS)}


def at(destination, *artifacts):
    return [Shipment(artifact=one, destination=destination) for one in artifacts]


def notes_of(objects, reason=RejectionReason.QUALITY, now=T0):
    return rejection_notes(STUDY, objects, reason, now)


def named_by(note):
    (study,) = read(note.artifact).CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == STUDY
    return {
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (RejectionReason.QUALITY, "113001"),
        (RejectionReason.PATIENT_SAFETY, "113037"),
        (RejectionReason.WRONG_ORDER, "113038"),
        (RejectionReason.RETENTION, "113039"),
    ],
)
def test_a_note_is_a_key_object_selection_with_the_reason_as_its_title(reason, code, made):
    (note,) = notes_of(at("pacs", *made.values()), reason)
    document = KeyObjectSelectionDocument.from_dataset(read(note.artifact))
    assert (document.Modality, document.ConceptNameCodeSequence[0].CodeValue) == ("KO", code)
    uids = [one.uid for one in made.values()]
    assert [one.referenced_sop_instance_uid for one in document.content.get_references()] == uids
    kinds = [one.ValueType for one in document.ContentSequence if one.ValueType in {"IMAGE", "COMPOSITE"}]
    assert kinds == ["COMPOSITE", "IMAGE", "COMPOSITE"]
    assert (document.PatientName, document.PatientID, document.AccessionNumber) == ("Lind^Eva", "P1", "A1")
    assert document.ManufacturerModelName == "triage-agent with embedded"
    assert document.SOPInstanceUID == note.artifact.uid
    assert note.artifact.kind is ArtifactKind.REJECTION


def test_each_destination_gets_a_note_of_what_it_has(made):
    sr, sc, kos = made.values()
    notes = notes_of([*at("pacs", sr, sc), *at("archive", sr), *at("old", kos), *at("pacs", kos)])
    assert [note.destination for note in notes] == ["pacs", "archive", "old"]
    assert [named_by(note) for note in notes] == [{sr.uid, sc.uid, kos.uid}, {sr.uid}, {kos.uid}]


def test_what_an_earlier_note_names_is_not_named_again(made):
    sr, sc, _ = made.values()
    (first,) = notes_of(at("pacs", sr))
    assert notes_of([*at("pacs", sr), first], RejectionReason.PATIENT_SAFETY) == []
    (second,) = notes_of([*at("pacs", sr), first, *at("pacs", sc)])
    assert named_by(second) == {sc.uid}
    assert second.artifact.uid != first.artifact.uid
    assert read(second.artifact).InstanceNumber == 2
    assert read(second.artifact).SeriesInstanceUID == read(first.artifact).SeriesInstanceUID


def test_the_same_withdrawal_has_the_same_uid_whenever_it_is_made(made):
    objects = at("pacs", *made.values())
    (first,), (again,) = notes_of(objects), notes_of(objects, now=T0 + timedelta(hours=1))
    (other,) = notes_of(objects, RejectionReason.RETENTION)
    assert first.artifact.uid == again.artifact.uid != other.artifact.uid


def test_nothing_is_withdrawn_where_nothing_was_sent():
    assert notes_of([]) == []


def test_objects_whose_bytes_were_let_go_are_named_by_what_was_kept_of_them(made):
    sr, sc, _ = made.values()
    (whole,) = notes_of(at("pacs", sr, sc))
    for gone in ([replace(with_header(sr), body=b""), sc], [replace(with_header(one), body=b"") for one in (sr, sc)]):
        (note,) = notes_of(at("pacs", *gone))
        assert note.artifact == whole.artifact


def test_what_is_kept_of_an_object_says_whose_it_is_and_nothing_of_what_it_says(made):
    for artifact in made.values():
        kept = dcmread(BytesIO(with_header(artifact).header))
        assert (kept.PatientID, kept.AccessionNumber, kept.SOPInstanceUID) == ("P1", "A1", artifact.uid)
        assert not {"ContentSequence", "PixelData", "ImageComments", "ContributingEquipmentSequence"} & {*kept.dir()}


def test_a_message_has_no_header():
    message = Artifact(kind=ArtifactKind.HL7_ORU, uid="2.25.5", body=b"MSH|", summary="")
    assert with_header(message) is message


def test_of_objects_that_nothing_was_kept_of_the_others_are_withdrawn(made):
    sr, sc, _ = made.values()
    (note,) = notes_of([*at("old", replace(sr, body=b"")), *at("pacs", replace(sr, body=b""), sc)])
    assert named_by(note) == {sc.uid}
    with pytest.raises(TriageError, match="let go with its originals"):
        notes_of(at("pacs", replace(sr, body=b"")))


def test_a_note_says_in_words_what_is_meant_and_names_no_patient_in_its_summary(made):
    (note,) = notes_of(at("pacs", *made.values()))
    said = [one.TextValue for one in read(note.artifact).ContentSequence if one.ValueType == "TEXT"]
    assert "These results of triage-agent are withdrawn" in said[-1]
    assert note.artifact.summary == "Rejected for Quality Reasons: 3 of our objects are withdrawn"
