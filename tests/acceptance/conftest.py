"""The agent as its users have it: the installed command, a PACS and a RIS around it."""

import gc
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent import Agent
from support.bundles import write_constant_bundle, write_tiny_bundle

import triage_agent
from triage_agent.simulation.pacs import SimulatedPacs
from triage_agent.simulation.ris import SimulatedRis

_HERE = Path(__file__).parent
_MEASURED = {"test_receiving_load.py", "test_soak.py"}  # a fork would have the memory of what it is forked from
_running = []  # what a failed test's report shows the logs of


def pytest_collection_modifyitems(items):
    # pynetdicom leaves the socket of a connection that was refused or cut to the garbage collector, which warns of it.
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and _HERE in item.path.parents:
        report.sections += [(f"log of {agent.folder.name}", agent.log_tail) for agent in _running]
    return report


@pytest.fixture(autouse=True, scope="module")
def _no_socket_is_left_for_later_modules():
    yield
    gc.collect()


@contextmanager
def _agents(folder, *, measured=False):
    """Makes agents, each in a folder of its own, and ends them all."""
    made = []

    def make(name="agent", *, start=True, cold=measured, **site):
        agent = Agent(folder / f"{name}-{len(made)}", **site)
        made.append(agent)
        _running.append(agent)
        return agent.start(cold=cold) if start else agent

    try:
        yield make
    finally:
        for agent in made:
            agent.close()
            _running.remove(agent)


@contextmanager
def _started(peer):
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


@pytest.fixture
def agent(request, tmp_path):
    """Starts an agent: `agent(bundle=..., pacs_port=..., quiet=..., ...)`; see `support.agent.Agent`."""
    with _agents(tmp_path, measured=request.path.name in _MEASURED) as make:
        yield make


@pytest.fixture(scope="module")
def shared_agent(tmp_path_factory):
    """As `agent`, for one that all tests of a module use."""
    with _agents(tmp_path_factory.mktemp("agents")) as make:
        yield make


@pytest.fixture
def pacs():
    with _started(SimulatedPacs()) as peer:
        yield peer


@pytest.fixture
def ris():
    with _started(SimulatedRis()) as peer:
        yield peer


@pytest.fixture(scope="module")
def shared_pacs():
    with _started(SimulatedPacs()) as peer:
        yield peer


@pytest.fixture(scope="module")
def shared_ris():
    with _started(SimulatedRis()) as peer:
        yield peer


# --- bundles ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A real network with random weights, whose probabilities differ from image to image."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def alarming_bundle(tmp_path_factory):
    """0.99 for every image, above the threshold for an abnormal study and for an alert."""
    return write_constant_bundle(tmp_path_factory.mktemp("bundles") / "alarming", bias=4.6)


@pytest.fixture(scope="session")
def doubting_bundle(tmp_path_factory):
    """0.99 for every image: it alerts, and does not reach what makes a study abnormal."""
    return write_constant_bundle(tmp_path_factory.mktemp("bundles") / "doubting", bias=4.6, abnormal=0.999)


@pytest.fixture(scope="session")
def calm_bundle(tmp_path_factory):
    """0.01 for every image."""
    return write_constant_bundle(tmp_path_factory.mktemp("bundles") / "calm", bias=-4.6)


@pytest.fixture(scope="session")
def shipped_bundle(tiny_bundle):
    """The bundle that ships; a checkout that has none yet tests with a tiny one."""
    embedded = Path(triage_agent.__file__).parent / "models" / "embedded" / "bundle.json"
    return "embedded" if embedded.exists() else tiny_bundle


@pytest.fixture
def reports(pacs):
    """The structured reports that the PACS has of a study."""
    return lambda uid: reports_of(pacs, uid)


def reports_of(pacs, uid):
    return [each for each in pacs.objects if each.get("Modality") == "SR" and each.StudyInstanceUID == uid]
