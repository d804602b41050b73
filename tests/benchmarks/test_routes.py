"""Each route from decision to acknowledgement: ten studies a second, BENCH_SECONDS (300) for each group of routes.

Figures go to build/bench/routes.json and are not asserted, but for that everything came once. BENCH_RATE changes the
rate; on two cores the groups take less than half an hour together.
"""

import json
import os

import pytest
from support.routebench import ROUTES, SETTLING_SECONDS, measure

SECONDS = float(os.environ.get("BENCH_SECONDS", "300"))
RATE = float(os.environ.get("BENCH_RATE", "10"))
GROUPS = (("hl7-oru", "hl7-omi"), ("sr", "kos"), ("sc", "gsps"), ("pdf", "stow-rs"), ("fhir", "ups", "ups-event"))

pytestmark = pytest.mark.timeout(SECONDS * 3 + 2 * SETTLING_SECONDS + 60)


@pytest.fixture(scope="module")
def document(results):
    """What is written, group by group, so that one that fails costs the others nothing."""
    written = {"seconds": SECONDS, "asked_studies_a_second": RATE, "cores": os.cpu_count(), "groups": {}}
    yield written
    (results / "routes.json").write_text(json.dumps(written, indent=2) + "\n")


def test_every_route_is_in_a_group():
    assert sorted(name for group in GROUPS for name in group) == sorted(ROUTES)


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_how_long_a_decision_takes_to_reach_the_other_side(group, launcher, document, tmp_path):
    found = measure(group, seconds=SECONDS, rate=RATE, folder=tmp_path, launcher=launcher)
    document["groups"][" ".join(group)] = found
    print(json.dumps(found, indent=1))  # noqa: T201
