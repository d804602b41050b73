import re
from pathlib import Path

import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

import triage_agent
from triage_agent.results import codes


def group(number):
    """The (scheme, value) pairs of a context group, from pydicom's copy of PS3.16."""
    return {
        (scheme, value)
        for scheme, keywords in cid_concepts[number].items()
        for keyword in keywords
        for value, (_, groups) in concepts[scheme][keyword].items()
        if number in groups
    }


def known(code):
    """Whether PS3.16 uses the code at all."""
    return any(code.value in values for values in concepts[code.scheme_designator].values())


@pytest.mark.parametrize(
    ("table", "number"),
    [
        (codes.REGIONS, 4031),
        (codes.LATERALITIES, 244),
        (codes.ACR_CATEGORIES, 7035),
        (codes.URGENCIES, 3414),
        (codes.NORMALITIES, 222),
    ],
)
def test_coded_values_belong_to_their_context_group(table, number):
    assert {(code.scheme_designator, code.value) for code in table.values()} <= group(number)


@pytest.mark.parametrize("name", sorted(name for name in vars(codes) if name.isupper()))
def test_every_code_is_one_that_the_standard_uses(name):
    value = getattr(codes, name)
    found = list(value.values()) if hasattr(value, "values") else [value]
    for code in found:
        if hasattr(code, "scheme_designator") and code.scheme_designator not in {codes.SITE_SCHEME, "UMLS"}:
            assert known(code), code


def test_every_region_that_imaging_can_name_has_a_code():
    imaging = Path(triage_agent.__file__).parent / "imaging"
    named = {name for path in imaging.glob("*.py") for name in re.findall(r'"(XR_[A-Z_]+)"', path.read_text())}
    assert named <= set(codes.REGIONS)
