"""What leaves the site says nothing of who it is of, whatever was in the file."""

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.sequence import Sequence
from support.instances import DEFLATED, write_part10
from support.labelled import image

from triage_agent.domain.quiet import quiet
from triage_agent.labelled.deidentify import RefusedError, Secret, deidentified
from triage_agent.labelled.profile import ACTIONS, KEPT_TAGS, Action

MARK = "LEAKED"
DATE = "19670203"
SECRET = Secret(b"s" * 32)
_TEXTS = {"LO", "SH", "PN", "LT", "ST", "UT", "UC", "UR", "AE"}
_ADDED = {"PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"}
_ADDED |= {"LongitudinalTemporalInformationModified"}
# PS3.15 table E.1-1: what of the kept elements it names, and what it wants of each.
ANNEX_E = {
    "AccessionNumber": "Z",
    "StudyDate": "Z",
    "StudyTime": "Z",
    "StudyID": "Z",
    "ReferringPhysicianName": "Z",
    "PatientBirthDate": "Z",
    "PatientSex": "Z",
    "PatientName": "Z",
    "PatientID": "Z",
    "AcquisitionContextSequence": "X/Z",
    "StudyInstanceUID": "U",
    "SeriesInstanceUID": "U",
    "SOPInstanceUID": "U",
}
_MEETS = {Action.EMPTY: "Z", Action.PSEUDONYM: "Z", Action.REPLACE_UID: "U"}
# More of that table, of which nothing may stay.
_GONE = """
AcquisitionDate AcquisitionDateTime AcquisitionTime AcquisitionDeviceProcessingDescription ContentDate ContentTime
SeriesDate SeriesTime InstanceCreationDate DeviceSerialNumber DetectorID CassetteID PlateID GantryID StationName
InstitutionName InstitutionAddress InstitutionalDepartmentName OperatorsName PerformingPhysicianName ProtocolName
SeriesDescription StudyDescription ImageComments PatientComments PatientAge PatientSize PatientWeight PatientAddress
OtherPatientIDs OtherPatientNames EthnicGroup Occupation AdditionalPatientHistory RequestAttributesSequence
RequestedProcedureID ScheduledProcedureStepID PerformedProcedureStepID FrameOfReferenceUID DeviceUID
IrradiationEventUID ReferencedStudySequence SourceImageSequence OriginalAttributesSequence DigitalSignaturesSequence
IconImageSequence ContributingEquipmentSequence DerivationDescription CurrentPatientLocation
"""


def after(tmp_path, source, patient="patient-1"):
    """As whoever gets the export reads it."""
    made = deidentified(write_part10(tmp_path / "in.dcm", source), patient, SECRET)
    made.save_as(tmp_path / "out.dcm", enforce_file_format=True)
    return dcmread(tmp_path / "out.dcm")


def value_for(vr):
    """Something that would be seen if it stayed; None for what cannot carry a text."""
    if vr in _TEXTS:
        return MARK
    return {"DA": DATE, "DT": DATE, "TM": "010203", "UI": "1.2.840.99999.1", "CS": "Leaked^Cs", "AS": "099Y"}.get(vr)


def everything():
    """An image with every element of the standard that can carry a text, in the data set and in a sequence."""
    source, inside = image(), Dataset()
    for tag in DicomDictionary:
        keyword, vr = keyword_for_tag(tag), dictionary_VR(tag)
        value = value_for(vr)
        if value is None or tag >> 16 < 8 or tag == 0x00080005 or keyword in source or not keyword:
            continue
        for where in (source, inside):
            where.add_new(tag, vr, value)
    for tag in DicomDictionary:
        if dictionary_VR(tag) == "SQ" and tag >> 16 >= 8:
            source.add_new(tag, "SQ", Sequence([inside] if keyword_for_tag(tag) == "RequestAttributesSequence" else []))
    source.add_new(0x00091001, "LO", MARK)
    source.add_new(0x50000005, "US", 1)
    source.add_new(0x60000022, "LO", MARK)
    source.add_new(0x60003000, "OW", b"\1\0")
    source.BurnedInAnnotation = "NO"
    return source


def test_nothing_of_what_the_standard_can_say_of_anybody_stays(tmp_path):
    with quiet():
        made = after(tmp_path, everything())
    written = (tmp_path / "out.dcm").read_bytes()
    for trace in (b"LEAKED", b"Leaked", b"1.2.840.99999", DATE.encode(), b"Doe", b"P1\0", b"099Y"):
        assert trace not in written
    allowed = KEPT_TAGS | {tag_for_keyword(keyword) for keyword in _ADDED}
    assert {element.tag for element in made} <= allowed
    assert not any(element.VR in _TEXTS and MARK in str(element.value) for element in made.iterall())


def test_what_annex_e_names_is_treated_as_it_wants():
    for keyword, wanted in ANNEX_E.items():
        assert _MEETS[ACTIONS[keyword]] in wanted, keyword
    gone = _GONE.split()
    assert not {*gone} & {*ACTIONS}
    assert None not in {tag_for_keyword(keyword) for keyword in [*ACTIONS, *gone]}


def test_the_pixels_and_what_is_needed_to_read_them_stay(tmp_path):
    source = image(BurnedInAnnotation="NO", PixelSpacing=[0.1, 0.1], PatientOrientation=["L", "F"])
    made = after(tmp_path, source)
    assert made.PixelData == source.PixelData
    assert made.pixel_array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (made.BodyPartExamined, made.PixelSpacing, made.PatientOrientation) == ("KNEE", [0.1, 0.1], ["L", "F"])


def test_it_says_that_and_how_it_was_done(tmp_path):
    made = after(tmp_path, image())
    assert (made.PatientIdentityRemoved, made.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    assert made.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert (made.PatientName, made.PatientID, made.PatientBirthDate) == ("patient-1", "patient-1", "")


def test_uids_are_replaced_alike_in_one_export_and_otherwise_in_another(tmp_path):
    source = image()
    first, again = after(tmp_path, source), after(tmp_path, source)
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    assert all(first[name].value == again[name].value != source[name].value for name in uids)
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert Secret(b"t" * 32).uid("1.2.3") != SECRET.uid("1.2.3")
    assert len(SECRET.uid("1.2.3")) <= 64


def test_codes_stay_without_their_meanings_and_only_those_of_public_schemes(tmp_path):
    def code(value, scheme):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, MARK
        return item

    source = image(AnatomicRegionSequence=[code("72696002", "SCT"), code("JANE", "99HOSP"), code("x y", "SCT")])
    found = after(tmp_path, source).AnatomicRegionSequence
    assert [(item.CodeValue, item.CodeMeaning) for item in found] == [("72696002", "72696002")]


def test_a_coded_word_that_is_none_is_left_out(tmp_path):
    source = image()
    with quiet():
        source.BodyPartExamined = "Doe^Jane"
    assert "BodyPartExamined" not in after(tmp_path, source)


CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned"),
        ({"SOPClassUID": CAPTURE}, "secondary capture"),
        ({"SOPClassUID": f"{CAPTURE}.2", "BurnedInAnnotation": ""}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "no radiograph"),
        ({"OverlayBitPosition": 12}, "overlay"),
        ({"PixelData": None}, "no pixels"),
    ],
    ids=str,
)
def test_what_may_show_who_it_is_of_is_refused(tmp_path, values, why):
    source = image()
    for name, value in values.items():
        if name == "OverlayBitPosition":
            source.add_new(0x60000102, "US", value)
        elif value is None:
            delattr(source, name)
        else:
            setattr(source, name, value)
    with pytest.raises(RefusedError, match=why):
        after(tmp_path, source)


def test_a_capture_that_says_that_nothing_is_burned_in_leaves(tmp_path):
    made = after(tmp_path, image(SOPClassUID=CAPTURE, BurnedInAnnotation="NO", ConversionType="WSD"))
    assert made.ConversionType == "WSD"


def test_a_text_that_calls_itself_a_number_is_left_out(tmp_path):
    source = image()
    source.add_new("KVP", "OB", b"Doe^Jane")
    source.add_new("Exposure", "LO", "Doe^Jane")
    made = after(tmp_path, source)
    assert "KVP" not in made
    assert "Exposure" not in made


@pytest.mark.parametrize("kind", [b"DS", b"IS"])
def test_a_text_in_place_of_a_number_is_left_out(tmp_path, kind):
    keyword, at = {b"DS": ("KVP", b"\x18\0\x60\0"), b"IS": ("InstanceNumber", b"\x20\0\x13\0")}[kind]
    source = image(ExposureTime=[12], PixelSpacing=[0.25, 1e-1])
    with quiet():
        source.add_new(keyword, "SH", "Doe^Jane")
        written = write_part10(tmp_path / "in.dcm", source)
    assert at + b"SH" in written.read_bytes()
    written.write_bytes(written.read_bytes().replace(at + b"SH", at + kind))
    try:
        made = deidentified(written, "p", SECRET)
    except RefusedError:
        return
    assert keyword not in made
    assert (made.ExposureTime, made.PixelSpacing) == (12, [0.25, 0.1])


def test_a_file_that_inflates_is_refused_before_it_does(tmp_path):
    file = write_part10(tmp_path / "in.dcm", image(), DEFLATED)
    with pytest.raises(RefusedError, match="deflated"):
        deidentified(file, "p", SECRET)


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM" + b"\xff" * 40, b"hello"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(RefusedError):
        deidentified(tmp_path / "x.dcm", "p", SECRET)
    with pytest.raises(RefusedError):
        deidentified(tmp_path / "not-there.dcm", "p", SECRET)
