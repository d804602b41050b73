"""The benchmark of routes, for a few studies: each route is sent everything, and has its figures."""

import pytest
from support.launcher import Launcher
from support.routebench import ROUTES, measure


@pytest.fixture
def launcher():
    running = Launcher()
    yield running
    running.close()


def test_each_route_gets_each_study_once_and_has_its_figures(launcher, tmp_path):
    found = measure(tuple(ROUTES), seconds=2.0, rate=3.0, folder=tmp_path, launcher=launcher)
    assert found["studies"] == 6
    assert found["routes"].keys() == ROUTES.keys()
    for figures in found["routes"].values():
        assert figures["acknowledged"] == 6
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["max_ms"]
