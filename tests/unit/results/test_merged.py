"""Results of a study whose patient was merged name who that is now."""

from pydicom import Dataset

from triage_agent.domain.orders import MergedPatient, PatientUpdate
from triage_agent.results.header import name_several_patients, patient_of, text_of
from triage_agent.results.merged import as_merged

INTO = PatientUpdate(patient_id="P7", patient_name="Müller^Jörg", patient_birth_date="19700302")
MERGED = MergedPatient(prior_ids=("P1",), into=INTO)


def header(patient_id, **values):
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 6"
    made.PatientID, made.PatientName, made.PatientSex = patient_id, "Doe^Jane", "F"
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_a_header_of_the_number_that_was_given_up_names_the_other_patient():
    (renamed,) = as_merged([header("P1", PatientBirthDate="19700301")], MERGED)
    said = [text_of(renamed, name) for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")]
    assert said == ["P7", "Müller^Jörg", "19700302", "F"]


def test_what_was_read_stays_as_it_was_read():
    read = header("P1")
    as_merged([read], MERGED)
    assert (read.PatientID, read.PatientName) == ("P1", "Doe^Jane")


def test_images_from_before_and_after_a_merge_are_of_one_patient():
    headers = [header("P1"), header("P7", PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 192")]
    assert name_several_patients(headers)
    assert not name_several_patients(as_merged(headers, MERGED))
    assert text_of(patient_of(as_merged(headers, MERGED)), "PatientID") == "P7"


def test_a_header_of_somebody_else_is_not_renamed():
    (kept,) = as_merged([header("P2")], MERGED)
    assert kept.PatientID == "P2"


def test_the_issuer_of_the_number_that_was_given_up_goes_with_it():
    (renamed,) = as_merged([header("P1", IssuerOfPatientID="OLD")], MERGED)
    assert "IssuerOfPatientID" not in renamed


def test_without_a_merge_and_without_a_header_nothing_changes():
    read = [header("P1"), None]
    assert as_merged(read, None) == read
    assert as_merged([None], MERGED) == [None]
