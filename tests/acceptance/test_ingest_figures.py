"""The benchmark of receiving, with images that are tiny: everything comes once at each peer, and has its figures."""

import pytest
from support.ingestbench import Case, grow, machine, measure, receivers

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]

PEERS = ("agent", "storescp", "orthanc")


def test_each_peer_gets_each_image_once_and_has_its_figures(tmp_path):
    with receivers(tmp_path, PEERS) as peers:
        case = Case("tiny", 20_000, 2, associations=2, compressed=True)
        found = measure(case, peers, tmp_path / "images", rounds=1)
        grown = grow([Case("tiny", 20_000, 2)], peers, tmp_path / "growth")
    assert (found["images"], found["associations"]) == (4, 2)
    assert found["median"].keys() == set(PEERS)
    assert found["ratios"].keys() == {"agent / storescp", "agent / orthanc"}
    assert all(seconds > 0 for seconds in found["median"].values())
    assert grown[0]["peak_mb"]["agent"] > 1
    assert machine(tmp_path)["cores"] >= 1
