import threading
import warnings

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from triage_agent.results import header as facts


def raw(tag, vr, value, *charset):
    """A data set as read from a file: its elements are not yet decoded."""
    dataset = Dataset()
    for number, representation, encoded in ((0x00080005, "CS", "\\".join(charset).encode()), (tag, vr, value)):
        key = Tag(number)
        dataset._dict[key] = RawDataElement(
            key, representation, len(encoded), encoded, 0, is_implicit_VR=False, is_little_endian=True
        )
    return dataset


@pytest.mark.parametrize(
    ("value", "charset", "text"),
    [
        (b"Plain^Name", (), "Plain^Name"),
        ("Иванов^Пётр".encode("iso8859-5"), ("ISO_IR 144",), "Иванов^Пётр"),
        ("Müller^Jörg".encode(), ("ISO_IR 192",), "Müller^Jörg"),
        ("Müller^Jörg".encode("latin-1"), ("ISO_IR 100",), "Müller^Jörg"),
        (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", ("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎"),
        (b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1", ("", "ISO 2022 IR 149"), "김^희"),
    ],
)
def test_names_are_read_in_their_character_set(value, charset, text):
    assert facts.text_of(raw(0x00100010, "PN", value, *charset), "PatientName") == text


@pytest.mark.parametrize(
    ("value", "charset"),
    [
        (b"\xff\xfe\xfd^X", ("ISO_IR 192",)),
        (b"M\xfcller", ("ISO_IR 6",)),
        (b"M\xfcller", ("NO SUCH SET",)),
        (b"\x1b$B;3E", ("", "ISO 2022 IR 87")),
        (b"\x1b\x1b\x1b$$$", ("", "ISO 2022 IR 159")),
        (b"\x00\x01\x02", ()),
    ],
)
def test_text_that_does_not_fit_its_character_set_is_read_without_an_error_or_a_warning(value, charset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = facts.text_of(raw(0x00100010, "PN", value, *charset), "PatientName")
    assert text.isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"one\\two", "one"),
        (b"\\two", ""),
        (b"  padded  ", "padded"),
        (b"line\r\nbreak\x00", "line break"),
        (b"\x7f\x1b", ""),
        (b"", ""),
    ],
)
def test_values_become_one_clean_text(value, text):
    assert facts.text_of(raw(0x00100020, "LO", value), "PatientID") == text


def test_reading_in_two_threads_at_once_leaves_the_filters_of_warnings_as_they_were(monkeypatch):
    before, read = list(warnings.filters), facts._value
    both, first_has_left = threading.Barrier(2), threading.Event()

    def overlapping(dataset, keyword):
        both.wait(30)
        if keyword == "PatientName":
            first_has_left.wait(30)
        return read(dataset, keyword)

    def other():
        facts.text_of(Dataset(), "PatientID")
        first_has_left.set()

    monkeypatch.setattr(facts, "_value", overlapping)
    thread = threading.Thread(target=other)
    thread.start()
    facts.text_of(Dataset(), "PatientName")
    thread.join()
    assert warnings.filters == before


def test_an_element_that_cannot_be_parsed_is_not_known():
    assert facts.text_of(raw(0x00280010, "US", b"odd"), "Rows") == ""
    assert facts.text_of(Dataset(), "PatientID") == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Lind^Eva", "Lind^Eva"),
        ("a^b^c^d^e^f^g", "a^b^c^d^e"),
        ("a=b=c=d", "a=b=c"),
        ("x" * 80 + "^y=" + "z" * 80, "x" * 64 + "=" + "z" * 64),
        ("=山田", "=山田"),
        ("Lind==", "Lind"),
        ("", ""),
    ],
)
def test_person_names_keep_to_their_groups_components_and_length(text, name):
    assert facts.person_name(text) == name


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20260228", "20260228"),
        ("2026.02.28", "20260228"),
        ("2026-02-28", "20260228"),
        ("20260230", ""),
        ("28.02.2026", ""),
        ("00000000", ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_dates_are_days_of_the_calendar_or_empty(text, date):
    assert facts.date(text) == date


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("081500", "081500"),
        ("08:15:00", "081500"),
        ("0815", "0815"),
        ("08", "08"),
        ("081500.123456", "081500.123456"),
        ("246060", ""),
        ("8 o'clock", ""),
        ("", ""),
    ],
)
def test_times_are_times_of_the_day_or_empty(text, time):
    assert facts.time(text) == time


@pytest.mark.parametrize(("text", "hours"), [("+0100", 1), ("-0330", -3.5), ("+9900", None), ("CET", None), ("", None)])
def test_the_offset_is_read_where_it_is_one(text, hours, header):
    offset = facts.utc_offset([header(TimezoneOffsetFromUTC=text)])
    assert (offset is None) is (hours is None)
    assert hours is None or offset.utcoffset(None).total_seconds() == hours * 3600


def test_a_broken_header_still_gives_every_type_2_attribute():
    report = Dataset()
    facts.copy_patient_and_study([Dataset()], into=report)
    assert all(report[keyword].is_empty for keyword in ("PatientName", "PatientID", "StudyDate", "AccessionNumber"))


def test_identifiers_too_long_for_their_representation_are_left_out_since_cut_they_would_be_another_s(header):
    report = Dataset()
    broken = header(PatientSex=None, StudyDate=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken.PatientID = "7" * 70
        broken.AccessionNumber = "9" * 30
        broken.PatientSex = "female"
    facts.copy_patient_and_study([broken, header(StudyDate="20260101")], into=report)
    assert (report.PatientID, report.AccessionNumber, report.PatientSex) == ("", "", "")
    assert report.StudyDate == "20260101"  # from the next header that has one


def copied(*headers):
    report = Dataset()
    facts.copy_patient_and_study(headers, into=report)
    return report


def test_a_patient_is_never_made_of_two_headers(header):
    nameless = header(PatientID="42", PatientName="", PatientBirthDate="", IssuerOfPatientID=None)
    report = copied(header(PatientID="", PatientName="Doe^Jane", PatientAge="055Y"), nameless)
    assert (report.PatientID, report.PatientName, report.PatientBirthDate) == ("42", "", "")
    assert "IssuerOfPatientID" not in report
    assert "PatientAge" not in report


def test_without_any_patient_id_the_patient_is_the_first_header_s(header):
    first, second = header(PatientID="", PatientName="Doe^Jane", PatientSex=""), header(PatientID="", PatientName="Roe")
    report = copied(first, second)
    assert (report.PatientName, report.PatientSex) == ("Doe^Jane", "")


def test_what_is_the_study_s_comes_from_the_first_header_that_has_it(header):
    report = copied(header(AccessionNumber="", StudyID="7"), header(AccessionNumber="A2", StudyID="8"))
    assert (report.AccessionNumber, report.StudyID) == ("A2", "7")


@pytest.mark.parametrize(
    ("patients", "several"),
    [
        ([("42", "HOSP"), ("42", "HOSP")], False),
        ([("42", "HOSP"), ("43", "HOSP")], True),
        ([("42", "HOSP"), ("42", "OTHER")], True),
        ([("42", "HOSP"), ("42", "")], False),
        ([("42", "HOSP"), ("", "OTHER")], False),
        ([("", ""), ("", "")], False),
        ([("42", ""), (" 42 ", "")], False),
        ([("7" * 70, ""), ("7" * 64, "")], False),
        ([], False),
    ],
)
def test_several_patients_are_different_ids_or_different_issuers_of_one(patients, several, header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        headers = [header(PatientID=patient, IssuerOfPatientID=issuer) for patient, issuer in patients]
    assert facts.name_several_patients(headers) is several


@pytest.mark.parametrize(
    ("one", "other", "several"),
    [
        (
            {"PatientID": "UNKNOWN", "PatientBirthDate": "19500101"},
            {"PatientID": "UNKNOWN", "PatientBirthDate": "20010202"},
            True,
        ),
        ({"PatientID": "UNKNOWN", "PatientBirthDate": "19500101"}, {"PatientID": "UNKNOWN"}, False),
        ({"PatientID": "1", "PatientSex": "F"}, {"PatientID": "1", "PatientSex": "M"}, True),
        ({"PatientID": "1", "PatientSex": "F"}, {"PatientID": "1", "PatientSex": "O"}, False),
        ({"PatientName": "DOE^JANE"}, {"PatientName": "ROE^RICHARD", "PatientID": "B2"}, True),
        ({"PatientName": "DOE^JANE"}, {"PatientName": "ROE^RICHARD"}, True),
        ({"PatientName": "Doe^Jane^M"}, {"PatientName": "DOE ^JANE", "PatientID": "B2"}, False),
        ({"PatientName": "DOE^JANE", "PatientID": "1"}, {"PatientName": "MILLER^JANE", "PatientID": "1"}, False),
        ({"PatientName": "DOE^JANE", "PatientID": "1"}, {}, False),
    ],
)
def test_people_are_told_apart_by_what_else_is_stated_where_an_id_does_not_settle_it(one, other, several, header):
    empty = dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex"), "")
    headers = [header(**{**empty, **stated}) for stated in (one, other)]
    assert facts.name_several_patients(headers) is several
