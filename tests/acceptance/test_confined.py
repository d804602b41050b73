"""The agent within what its units for systemd leave it (`support.confined` puts that around it without systemd)."""

import json

import pytest
from support.agent import eventually
from support.units import WITHOUT_TORCH, Confined
from support.xrays import radiograph, send

from triage_agent.worklist import SqlWorklist, open_engine

pytestmark = pytest.mark.external

# What each of them is allowed, tried in there: 0, or the number of the error.
TRIED = """
import ctypes, json, os, resource, socket, time
libc = ctypes.CDLL(None, use_errno=True)
def trying(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0
def called(name, *arguments):
    def act():
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), name)
    return act
def written(path):
    return lambda: open(path, "w").close()
libc.mmap.restype = ctypes.c_ssize_t
print(json.dumps({
    "write its state": trying(written("here")),
    "write /tmp": trying(written("/tmp/here")),
    "write /usr": trying(written("/usr/here")),
    "write /etc": trying(written("/etc/here")),
    "list homes": len(os.listdir("/home")),
    "see devices": sorted(set(os.listdir("/dev")) - {"null", "zero", "full", "random", "urandom", "tty", "shm"}),
    "see the kernel's settings": os.path.exists("/proc/sys"),
    "see other processes": os.path.exists("/proc/1"),
    "be root": trying(lambda: os.setuid(0)),
    "own a file for another": trying(lambda: os.chown("here", 0, 0)),
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))],
    "make a name space": trying(called("unshare", 0x10000000)),
    "speak to the kernel": trying(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "speak IP": trying(lambda: socket.socket(socket.AF_INET6)),
    "set the clock": trying(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
    "make a file run as its owner": trying(lambda: os.chmod("here", 0o4755)),
    "run as others do": trying(called("personality", 8)),
    "write what it runs": trying(called("mmap", None, 4096, 7, 34, -1, 0)),
    "limit itself": trying(lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))),
    "dump": resource.getrlimit(resource.RLIMIT_CORE)[1],
}))
"""
DENIED, READ_ONLY, NO_SUCH_FAMILY = 1, 30, 97  # EPERM, EROFS, EAFNOSUPPORT
ALLOWED = {
    "write its state": 0,
    "write /tmp": 0,
    "write /usr": READ_ONLY,
    "write /etc": READ_ONLY,
    "list homes": 0,
    "see devices": [],
    "see the kernel's settings": False,
    "see other processes": False,
    "be root": DENIED,
    "own a file for another": DENIED,
    "capabilities": ["0000000000000000"] * 2,
    "make a name space": DENIED,
    "speak to the kernel": NO_SUCH_FAMILY,
    "speak IP": 0,
    "set the clock": DENIED,
    "make a file run as its owner": DENIED,
    "run as others do": DENIED,
    "limit itself": 0,
    "dump": 0,
}


@pytest.fixture
def within(tmp_path):
    """Makes a place within units."""
    made = []

    def make(*units):
        made.append(Confined(tmp_path, *units))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("units", "code"),
    [(["triage-agent.service"], 0), (["triage-agent@.service", "no-jit.conf"], DENIED)],
    ids=["whole", "role"],
)
def test_little_is_allowed_and_only_what_has_torch_may_write_what_it_runs(within, units, code):
    assert json.loads(within(*units).run(TRIED)) == {**ALLOWED, "write what it runs": code}


def test_the_whole_agent_receives_scores_reports_and_ends_within_its_unit(within, pacs, reports):
    agent = within("triage-agent.service")
    agent.serve("all", pacs.port)
    image = radiograph(seed=1)
    assert set(send(agent.port, image).values()) == {0x0000}
    assert eventually(lambda: reports(image.StudyInstanceUID))
    assert agent.stop() == 0, agent.log.read_text()
    engine = open_engine(f"sqlite:///{agent.state}/var/triage.db")
    (scored,) = SqlWorklist(engine).study(image.StudyInstanceUID).instances
    engine.dispose()
    assert scored.assessment.outcome == "scored", scored


def test_a_listener_receives_without_torch_where_no_memory_is_both_written_and_run(within, pacs):
    agent = within("triage-agent@.service", "no-jit.conf")
    agent.serve("listener", pacs.port, program=("-c", WITHOUT_TORCH))
    assert set(send(agent.port, radiograph(seed=2)).values()) == {0x0000}
    assert agent.stop() == 0, agent.log.read_text()
