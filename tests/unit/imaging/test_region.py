import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.sr._snomed_dict import mapping

from triage_agent.imaging import anatomy
from triage_agent.imaging.region import Region, find_region, laterality_of, region_of

MURA = ["XR_ELBOW", "XR_FINGER", "XR_FOREARM", "XR_HAND", "XR_HUMERUS", "XR_SHOULDER", "XR_WRIST"]


def header(codes=(), **attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if codes:
        dataset.AnatomicRegionSequence = Sequence([coded(*code) for code in codes])
    return dataset


def coded(value, scheme="SCT", meaning="", modifiers=()):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    if modifiers:
        item.AnatomicRegionModifierSequence = Sequence([coded(modifier) for modifier in modifiers])
    return item


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("KNEE", "XR_KNEE"),
        ("knee", "XR_KNEE"),
        ("KNEE_LT", "XR_KNEE"),
        ("HAND", "XR_HAND"),
        ("WRIST", "XR_WRIST"),
        ("FINGER", "XR_FINGER"),
        ("THUMB", "XR_FINGER"),
        ("HUMERUS", "XR_HUMERUS"),
        ("UPPER ARM", "XR_HUMERUS"),
        ("UPPERARM", "XR_HUMERUS"),
        ("ARM", "XR_HUMERUS"),
        ("FOREARM", "XR_FOREARM"),
        ("RADIUS/ULNA", "XR_FOREARM"),
        ("RADIUSULNA", "XR_FOREARM"),
        ("SHOULDER", "XR_SHOULDER"),
        ("CLAVICLE", "XR_CLAVICLE"),
        ("SCAPULA", "XR_SCAPULA"),
        ("ELBOW", "XR_ELBOW"),
        ("HIP", "XR_HIP"),
        ("PELVIS", "XR_PELVIS"),
        ("ANKLE", "XR_ANKLE"),
        ("FOOT", "XR_FOOT"),
        ("TOE", "XR_TOE"),
        ("LEG", "XR_LOWER_LEG"),
        ("TIBIA FIBULA", "XR_LOWER_LEG"),
        ("TIB_FIB", "XR_LOWER_LEG"),
        ("TIBIAFIBULA", "XR_LOWER_LEG"),
        ("FEMUR", "XR_FEMUR"),
        ("CSPINE", "XR_CERVICAL_SPINE"),
        ("TSPINE", "XR_THORACIC_SPINE"),
        ("LSPINE", "XR_LUMBAR_SPINE"),
        ("SPINE", "XR_SPINE"),
        ("SSPINE", "XR_SACRUM"),
        ("COCCYX", "XR_SACRUM"),
        ("RIB", "XR_RIBS"),
        ("STERNUM", "XR_STERNUM"),
        ("LOWER_EXTREMITY", anatomy.LIMB),
        ("LOWEREXTREMITY", anatomy.LIMB),
        ("UP_EXM", anatomy.LIMB),
        ("LOW_EXM", anatomy.LIMB),
        ("EXTREMITY", anatomy.LIMB),
        ("CHEST", "other:chest"),
        ("THORAX", "other:chest"),
        ("ABDOMEN", "other:the abdomen"),
        ("SKULL", "other:the skull"),
        ("HEAD", "other:the skull"),
        ("JAW", "other:the jaw or teeth"),
        ("BREAST", "other:the breast"),
        ("NECK", "other:the neck"),
        ("", None),
        ("XYZ", None),
        ("WHOLEBODY", None),
    ],
)
def test_body_part_examined_is_read_as_vendors_spell_it(written, region):
    assert find_region(written) == region


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("Knie rechts a.p./seitl.", "XR_KNEE"),
        ("Kniegelenk in 2 Ebenen", "XR_KNEE"),
        ("Patella tangential", "XR_KNEE"),
        ("Rö Handgelenk li", "XR_WRIST"),
        ("Hand dorsopalmar", "XR_HAND"),
        ("Schlüsselbein", "XR_CLAVICLE"),
        ("Hüfte axial", "XR_HIP"),
        ("Hueftgelenk", "XR_HIP"),
        ("Beckenübersicht", "XR_PELVIS"),
        ("Oberschenkel mit Hüftgelenk", "XR_FEMUR"),
        ("Sprunggelenk re.", "XR_ANKLE"),
        ("OSG", "XR_ANKLE"),
        ("Vorfuß schräg", "XR_FOOT"),
        ("Großzehe", "XR_TOE"),
        ("HWS seitlich", "XR_CERVICAL_SPINE"),
        ("BWS", "XR_THORACIC_SPINE"),
        ("LWS ap", "XR_LUMBAR_SPINE"),
        ("Thorax pa", "other:chest"),
        ("knöcherner Hemithorax", "XR_RIBS"),
        ("Genou droit face", "XR_KNEE"),
        ("RX ÉPAULE GAUCHE", "XR_SHOULDER"),
        ("Poignet F+P", "XR_WRIST"),
        ("Main gauche", "XR_HAND"),
        ("avant-bras", "XR_FOREARM"),
        ("gros orteil", "XR_TOE"),
        ("rachis lombaire", "XR_LUMBAR_SPINE"),
        ("Radio de rodilla", "XR_KNEE"),
        ("muñeca derecha", "XR_WRIST"),
        ("Dedo de la mano", "XR_FINGER"),
        ("dedo del pie", "XR_TOE"),
        ("Tobillo AP", "XR_ANKLE"),
        ("columna cervical", "XR_CERVICAL_SPINE"),
        ("Ginocchio dx", "XR_KNEE"),
        ("Rx torace", "other:chest"),
        ("dito del piede", "XR_TOE"),
        ("avambraccio", "XR_FOREARM"),
        ("X-enkel rechts", "XR_ANKLE"),
        ("Bovenarm", "XR_HUMERUS"),
        ("Heup axiaal", "XR_HIP"),
        ("XR C Spine Comp Min 4 Views", "XR_CERVICAL_SPINE"),
        ("Tib/Fib AP & LAT", "XR_LOWER_LEG"),
        ("LowerLeg lateral", "XR_LOWER_LEG"),
        ("Distal radius", "XR_WRIST"),
        ("Radial head", "XR_ELBOW"),
        ("Humeral head", "XR_HUMERUS"),
        ("neck of femur", "XR_HIP"),
        ("Sinus tarsi", "XR_FOOT"),
        ("Ribs and chest", "XR_RIBS"),
        ("Abdomen and pelvis", "other:the abdomen"),
        ("Soft tissue neck", "other:the neck"),
        ("Acromioclavicular joint", "XR_SHOULDER"),
        ("Long leg standing", anatomy.LIMB),
    ],
)
def test_the_longest_phrase_of_six_languages_decides(text, region):
    assert find_region(text) == region


@pytest.mark.parametrize(
    "text",
    ["Shipment", "handout", "main hospital", "kneeling", "footer", "Archive", "spines1", "chestnut", "toes2", "", " "],
)
def test_words_within_words_do_not_count(text):
    assert find_region(text) is None


def test_no_phrase_and_no_code_stands_for_two_regions():
    for table in (anatomy._WORDS, anatomy._CODES):
        separator = "," if table is anatomy._WORDS else None
        entries = [entry.strip() for words in table.values() for entry in words.split(separator)]
        assert sorted(entries) == sorted(set(entries))


def test_phrases_are_written_as_texts_are_compared():
    assert all(find_region(phrase) for phrase in anatomy.REGION_OF_PHRASE)


def test_srt_codes_agree_with_their_snomed_ct_successors():
    both = [
        (old, mapping["SRT"][old])
        for old in anatomy.REGION_OF_CODE
        if old in mapping["SRT"] and mapping["SRT"][old] in anatomy.REGION_OF_CODE
    ]
    assert len(both) > 60
    assert [pair for pair in both if anatomy.REGION_OF_CODE[pair[0]] != anatomy.REGION_OF_CODE[pair[1]]] == []


def test_every_region_of_mura_has_a_word_and_a_code():
    assert set(MURA) <= set(anatomy._WORDS)
    assert set(MURA) <= set(anatomy._CODES)


@pytest.mark.parametrize(
    ("code", "scheme", "region"),
    [
        ("72696002", "SCT", "XR_KNEE"),
        ("T-D9200", "SRT", "XR_KNEE"),
        ("T-D9200", "SNM3", "XR_KNEE"),
        ("24136001", "SCT", "XR_HIP"),
        ("74670003", "SCT", "XR_WRIST"),
        ("T-15460", "SRT", "XR_WRIST"),
        ("85562004", "SCT", "XR_HAND"),
        ("T-D8700", "SRT", "XR_HAND"),
        ("816092008", "SCT", "XR_PELVIS"),
    ],
)
def test_codes_name_regions(code, scheme, region):
    found = region_of(header(codes=[(code, scheme)]))
    assert found == Region(region, musculoskeletal=True, source="AnatomicRegionSequence")


def test_an_unknown_code_is_read_by_its_meaning():
    assert region_of(header(codes=[("999", "99LOCAL", "Left knee")])).code == "XR_KNEE"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, Region()),
        ({"BodyPartExamined": "KNEE"}, Region("XR_KNEE", musculoskeletal=True, source="BodyPartExamined")),
        (
            {"BodyPartExamined": "KNEE", "StudyDescription": "Ankle"},
            Region("XR_KNEE", musculoskeletal=True, source="BodyPartExamined"),
        ),
        (
            {"BodyPartExamined": "LOWER_EXTREMITY", "StudyDescription": "Knie links"},
            Region("XR_KNEE", musculoskeletal=True, source="StudyDescription"),
        ),
        (
            {"BodyPartExamined": "LOWER_EXTREMITY", "StudyDescription": "Trauma"},
            Region(None, musculoskeletal=True, source="BodyPartExamined"),
        ),
        (
            {"BodyPartExamined": "CHEST", "SeriesDescription": "Knee AP"},
            Region("XR_KNEE", musculoskeletal=True, source="SeriesDescription"),
        ),
        (
            {"BodyPartExamined": "CHEST", "StudyDescription": "Chest, shoulder"},
            Region(None, musculoskeletal=False, source="BodyPartExamined", other="chest"),
        ),
        (
            {"SeriesDescription": "PA", "StudyDescription": "Chest 2 views"},
            Region(None, musculoskeletal=False, source="StudyDescription", other="chest"),
        ),
        (
            {"SeriesDescription": "Wrist lat", "StudyDescription": "Hand and wrist"},
            Region("XR_WRIST", musculoskeletal=True, source="SeriesDescription"),
        ),
        (
            {"codes": [("816094009",)], "SeriesDescription": "Knee AP"},
            Region(None, musculoskeletal=False, source="AnatomicRegionSequence", other="chest"),
        ),
        (
            {"BodyPartExamined": "EXTREMITY", "StudyDescription": "Chest"},
            Region(None, musculoskeletal=True, source="BodyPartExamined"),
        ),
    ],
)
def test_the_first_attribute_that_names_a_region_decides(attributes, expected):
    assert region_of(header(**attributes)) == expected


def test_a_procedure_code_is_the_last_resort():
    instance = header()
    instance.ProcedureCodeSequence = Sequence([coded("123", "LN", "XR Elbow 2 views")])
    assert region_of(instance) == Region("XR_ELBOW", musculoskeletal=True, source="ProcedureCodeSequence")


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"ImageLaterality": "L"}, "L"),
        ({"ImageLaterality": "B", "Laterality": "R"}, "B"),
        ({"ImageLaterality": "", "Laterality": "R"}, "R"),
        ({"Laterality": "RIGHT"}, "R"),
        ({"ImageLaterality": "U"}, "U"),
        ({"ImageLaterality": "X"}, None),
        ({"codes": [("72696002", "SCT", "", ["7771000"])]}, "L"),
        ({"codes": [("T-D9200", "SRT", "", ["G-A100"])]}, "R"),
        ({"codes": [("72696002", "SCT", "", ["51440002"])]}, "B"),
        ({"codes": [("72696002", "SCT", "", ["999"])]}, None),
        ({}, None),
    ],
)
def test_laterality_comes_from_attributes_or_codes(attributes, side):
    assert laterality_of(header(**attributes)) == side
