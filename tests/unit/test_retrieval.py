"""What a process counts of the studies that it fetches from a PACS."""

from functools import partial
from types import SimpleNamespace

import pytest
from support.story import T0

from triage_agent.domain.retrieval import RetrievalError
from triage_agent.intake.fetching import Tried
from triage_agent.ops.metrics import Metrics
from triage_agent.retrieval import Fetching
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist

PEER = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "retrieve": "get"}


def tries_of(metrics):
    """What a scrape shows of them: each outcome as often as it was."""
    (family,) = metrics.retrievals.collect()
    totals = [one for one in family.samples if one.name.endswith("_total")]
    return [one.labels["outcome"] for one in totals for _ in range(int(one.value))]


@pytest.fixture
def fetching(tmp_path):
    """What fetches, a worklist that wants one study, and what was counted."""
    worklist, metrics = MemoryWorklist(), Metrics()
    settings = Settings(data_dir=tmp_path, dicom={"peers": [PEER]})
    made = Fetching(settings, worklist, lambda: T0, lambda: None, metrics)
    yield made, worklist, partial(tries_of, metrics)
    made.stop()


@pytest.mark.parametrize(
    ("tried", "outcome"),
    [
        (Tried(fetched=2, lacking=0), ["complete"]),
        (Tried(fetched=2, lacking=None), ["complete"]),
        (Tried(fetched=1, lacking=1), ["incomplete"]),
        (Tried(fetched=0, lacking=2, error=RetrievalError("refused", permanent=False)), ["failed"]),
        (None, []),
    ],
)
def test_what_came_of_a_try_is_counted(fetching, tried, outcome):
    made, worklist, counted = fetching
    made._fetchers["pacs"] = SimpleNamespace(attempt=lambda _retrieval: tried)
    worklist.want_retrieval("1.2.1", "pacs", T0, requested_by="admin")
    assert made.step("w") == (True, tried)
    assert counted() == outcome
    assert made.step("w") == (False, None), "it is held"
    assert counted() == outcome


def test_a_study_of_a_peer_that_is_not_configured_any_more_counts_as_failed(fetching):
    made, worklist, counted = fetching
    worklist.want_retrieval("1.2.1", "gone", T0, requested_by="admin")
    assert made.step("w") == (True, None)
    assert counted() == ["failed"]
