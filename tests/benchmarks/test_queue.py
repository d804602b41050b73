"""How fast results go that wait for a PACS, once it is there again: 300 studies, which come at ten a second."""

import json
import os

import pytest
from support.queuebench import measure

STUDIES, RATE = 300, 10.0
KINDS = ("sr", "sc", "gsps")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def document(results):
    """What is written, kind by kind, so that one that fails costs the others nothing."""
    written = {"cores": os.cpu_count(), "kinds": {}}
    yield written
    (results / "queue.json").write_text(json.dumps(written, indent=2) + "\n")


@pytest.mark.parametrize("kind", KINDS)
def test_how_fast_a_queue_goes_when_its_pacs_is_there_again(kind, launcher, document, tmp_path):
    found = measure(kind, studies=STUDIES, rate=RATE, folder=tmp_path, launcher=launcher)
    document["kinds"][kind] = found
    print(json.dumps(found, indent=1))  # noqa: T201
