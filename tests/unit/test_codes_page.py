"""docs/integration/codes.md says what the code writes, and what tables of other hands have."""

import re
from pathlib import Path

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task
from hl7apy.v2_4.tables import TABLES as TABLES_2_4
from hl7apy.v2_6.tables import TABLES
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from triage_agent.dimse import modality_worklist
from triage_agent.domain import workitem
from triage_agent.domain.vocabulary import Finding, Priority
from triage_agent.hl7in.acknowledgement import ERRORS
from triage_agent.results import codes, hl7_segments, rejection
from triage_agent.results.hl7_versions import CODECS
from triage_agent.steps.data import INTERPRETATION

PAGE = Path(__file__).parents[2] / "docs" / "integration" / "codes.md"


@pytest.fixture(scope="module")
def rows():
    """{first cell: the other cells} of every table."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("|--"):
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            found[first] = others
    return found


def said(cell):
    return re.findall(r"`([^`]+)`", cell)


def row_of(rows, beginning):
    (found,) = (cells for first, cells in rows.items() if first.startswith(beginning))
    return found


@pytest.mark.parametrize(
    ("channel", "written"),
    [
        ("UPS,", {one: workitem.PRIORITIES[one] for one in Priority}),
        ("Modality Worklist,", {one: modality_worklist._PRIORITIES[one] for one in Priority}),
        ("HL7 from 2.5,", {one: hl7_segments.PRIORITIES[one][0] for one in Priority}),
        ("FHIR,", {one: one.value for one in Priority}),
        ("SR, urgency", {one: codes.URGENCIES[one].value for one in codes.URGENCIES}),
    ],
)
def test_a_priority_is_what_the_code_writes(rows, channel, written):
    cells = row_of(rows, channel)
    assert [said(cell) for cell in cells[:3]] == [[written[one]] if one in written else [] for one in Priority]


def test_categories_findings_and_titles_are_what_the_code_writes(rows):
    for category, code in codes.ACR_CATEGORIES.items():
        assert said(rows[category][0]) == [code.value]
    for finding in Finding:
        assert said(rows[finding.value.replace("_", " ")][0]) == [codes.NORMALITIES[finding].value]
    for reason, title in rejection._TITLES.items():
        assert said(rows[f"withdrawn, `{reason.value}`"][0]) == [title.value]
    assert said(rows["a study to be read"][0]) == [INTERPRETATION[0]]
    assert said(rows["work for the agent"][0]) == [workitem.DETECTION]
    assert said(rows["MSH-18"][0]) == [*CODECS]
    assert said(rows["ERR-3"][0]) == [str(error) for error in sorted(ERRORS)]


def test_what_is_checked_against_pydicom_is_in_its_dictionaries(rows):
    checked = [(first, cells) for first, cells in rows.items() if re.search(r"CID [0-9]+", " ".join(cells))]
    assert len(checked) > 15
    for first, cells in checked:
        (cid,) = {int(number) for number in re.findall(r"CID ([0-9]+)", " ".join(cells))}
        scheme = next(name for name in ("SCT", "DCM", "RADLEX") if any(name in cell for cell in cells))
        known = {code for name in cid_concepts[cid][scheme] for code in concepts[scheme][name]}
        numbers = [code for cell in cells for code in said(cell) if re.fullmatch("(RID)?[0-9]{5,}", code)]
        assert numbers, first
        assert {*numbers} <= known, first


def test_what_is_checked_against_hl7apy_is_in_its_tables(rows):
    checked = {first: cells for first, cells in rows.items() if cells[-1] == "hl7apy"}
    assert len(checked) == 9
    for first, cells in checked.items():
        (table,) = re.findall(r"\b(0[0-9]{3})\b", cells[-2])
        values = {value for cell in cells[:-2] for value in said(cell) if "=" not in value}
        assert values <= {*TABLES[f"HL7{table}"][1]}, first
    late = [value for value in said(rows["MSH-18"][0]) if value not in TABLES_2_4["HL70211"][1]]
    assert late == said(rows["MSH-18"][0])[-3:]


def test_what_is_checked_against_fhir_resources_is_in_its_value_sets(rows):
    values = [value for cell in row_of(rows, "FHIR,") for value in said(cell)]
    for resource in (ServiceRequest, Task):
        assert {*values} < {*resource.model_fields["priority"].json_schema_extra["enum_values"]}
