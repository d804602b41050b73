import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from support import longest, ports, rotation
from support.compiled import compiled_once
from support.programs import REQUIRE, with_nothing_missing

# What refuses a change must refuse it twice; other runs go on looking for what nobody thought of.
settings.register_profile("steady", derandomize=True)
if os.environ.get(REQUIRE) == "1":
    settings.load_profile("steady")


def pytest_collection_modifyitems(config, items):
    """The part of the day; long files first; within them, and among the others, the order stays random.

    What nobody asked for, and what only a GPU can run where there is none, is left out: a test that is skipped is one
    that something is missing for.
    """
    which = rotation.part()
    left_out = [item for item in items if not (rotation.is_in(item.path, which) and _has_a_place(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: longest.place(item.path))


def _has_a_place(item):
    asked = item.get_closest_marker("asked")
    if asked is not None and not os.environ.get(asked.args[0]):
        return False
    if "benchmarks" in item.path.parts:  # which name what they leave out
        return True
    return Path("/dev/nvidiactl").exists() or not item.get_closest_marker("gpu")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return report if "benchmarks" in item.path.parts else with_nothing_missing(report)  # which name what they leave out


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return with_nothing_missing((yield))


@pytest.fixture(autouse=True, scope="session")
def _sql_is_compiled_once():
    with compiled_once():
        yield


@pytest.fixture(autouse=True, scope="session")
def _peers_close_their_sockets():
    """pynetdicom closes none whose peer was first to: the collector would find it in whatever test comes later."""
    transport = sys.modules.get("pynetdicom.transport")
    if transport is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport.AssociationSocket, "_shutdown_socket", _closed)
        yield


def _closed(self):
    if self.socket is not None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()
