"""Measures how fast a queue goes: studies are decided while their PACS is away, then storescp is there."""

import subprocess
import time

from sqlalchemy import func, select
from support.agent import eventually
from support.faultsite import FaultAgent
from support.ports import free_port
from support.programs import require_program
from support.routebench import ROUTES, TABLES, _used, radiograph_file, send_steadily

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.settings import load_settings
from triage_agent.worklist import open_engine
from triage_agent.worklist.tables import OutboxRow

_BEGUN = 5  # results that went before the clock starts: the first of them finds that the PACS is there
_SITE = """
[worker]
lease_seconds = 30
[delivery]
first_retry_seconds = 1
longest_retry_seconds = 2
[study]
quiet_seconds = 1.0
"""


def measure(kind, *, studies, rate, folder, launcher):
    """Results of this kind a second, and what each costs the agent; fails where not everything came."""
    port, kept = free_port(), folder / "archive"
    kept.mkdir(parents=True)
    tables = _SITE + TABLES["store"].format(name="archive", title="ARCHIVE", port=port)
    tables += f'[[routes]]\nto = "archive"\nsend = ["{ROUTES[kind][1]}"]\n'
    agent = FaultAgent(folder, launcher, pacs_port=free_port(), sends=(), tables=tables)
    engine = None
    try:
        file = radiograph_file(agent)
        agent.start(wait=True)
        engine = open_engine(load_settings(agent.config).database_url)
        assert send_steadily(agent.port, file, studies / rate, rate) == studies
        eventually(lambda: _of(engine) == studies, every=0.2)
        assert _of(engine, DeliveryState.SENT) == 0
        with subprocess.Popen([require_program("storescp"), "-od", str(kept), "+B", str(port)]) as pacs:
            try:
                found = _drained(agent, engine, studies)
            finally:
                pacs.terminate()
        assert len(list(kept.iterdir())) == studies
        return found
    finally:
        agent.close()
        if engine is not None:
            engine.dispose()


def _drained(agent, engine, studies):
    eventually(lambda: _of(engine, DeliveryState.SENT) >= _BEGUN, every=0.02)
    before, began, cores = _of(engine, DeliveryState.SENT), time.monotonic(), _used(agent.pid)
    eventually(lambda: _of(engine, DeliveryState.SENT) == studies, every=0.05)
    took, sent = time.monotonic() - began, studies - before
    return {
        "studies": studies,
        "results_a_second": round(sent / took, 1),
        "agent_core_ms": round((_used(agent.pid) - cores) / sent * 1000, 1),
    }


def _of(engine, state=None):
    """How many results there are, or in this state."""
    statement = select(func.count()).select_from(OutboxRow)
    with engine.connect() as connection:
        return connection.scalar(statement if state is None else statement.where(OutboxRow.state == state))
