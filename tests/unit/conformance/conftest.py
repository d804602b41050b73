import pytest
from support.statements import stated


@pytest.fixture(scope="session")
def statement():
    return stated()
