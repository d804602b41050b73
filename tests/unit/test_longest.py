"""The order in which test files begin."""

import pytest
from support.longest import LONGEST, TESTS, place


@pytest.mark.parametrize("name", LONGEST)
def test_what_is_named_is_there(name):
    assert (TESTS / name).exists()


def test_a_file_comes_before_its_folder_and_its_folder_before_the_rest():
    names = ("acceptance/test_kill.py", "acceptance/test_demo.py", "contract/test_transports.py")
    places = [place(TESTS / name) for name in names]
    assert places == sorted(places)
    assert len(set(places)) == len(names)
