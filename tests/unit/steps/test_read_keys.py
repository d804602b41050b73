"""Keys of a search by HTTP: whatever an address says is a key, or refused in words."""

import pytest

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.steps.dicom_json import read_keys


@pytest.mark.parametrize("value", ["tall", "��\x00", "1e", "1\\x"])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(InvalidDatasetError):
        read_keys([("PatientSize", value)])


def test_a_number_is_a_key():
    assert float(read_keys([("PatientSize", "1.75")]).PatientSize) == 1.75
