import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID, derive_uid, is_uid


@pytest.mark.parametrize(
    "text",
    [
        "0.0",
        "1.2",
        "1.2.840.10008.1.2",
        "2.25.0",
        "1.0.3",
        "1." + "2" * 62,
        "2.25.329800735698586629295641978511506172918",
    ],
)
def test_uids_are_recognised(text):
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",  # a root without a suffix
        ".",
        "1.",
        ".1",
        "1..2",
        "01.2",
        "1.02",
        "1.2.a",
        "1.2 ",
        " 1.2",
        "1.2\n",
        "1.2\x00",
        "-1.2",
        "1/2",
        "../../etc/passwd",
        "١.٢",  # noqa: RUF001, digits, but not the standard's
        "1." + "2" * 63,
    ],
)
def test_what_is_no_uid_is_refused(text):
    assert not is_uid(text)


@settings(max_examples=50)
@given(st.lists(st.text(max_size=10), min_size=1, max_size=4))
def test_a_derived_uid_is_a_uid_and_always_the_same(parts):
    uid = derive_uid(*parts)
    assert is_uid(uid)
    assert uid.startswith("2.25.")
    assert uid == derive_uid(*parts)


@given(*[st.lists(st.text("ab.", max_size=3), min_size=1, max_size=3)] * 2)
def test_other_parts_make_another_uid(one, other):
    assert (derive_uid(*one) == derive_uid(*other)) == (one == other)


def test_a_derived_uid_does_not_change_between_versions():
    assert derive_uid("1.2.3", "1", "abc", "sr") == "2.25.252402655906703829748079156053200828457"


def test_the_software_is_named_the_same_for_ever():
    """In files that sites keep, and to peers that may have been told it."""
    assert IMPLEMENTATION_CLASS_UID == "2.25.208801943379929052781354578345155671121"
