"""From a decision to the RIS that acknowledges its messages: ten studies a second, on SQLite, over one kept connection.

`BENCH_SECONDS` is how long (60). Figures are written and not asserted, but for that each message came once.
"""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest
from pydicom import Dataset
from support.story import Story, decision

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.delivery.sender import Sender
from triage_agent.domain.decision import Shipment
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY
from triage_agent.simulation.ris import SimulatedRis
from triage_agent.worker import Loop
from triage_agent.worklist import SqlWorklist, open_engine, upgrade

SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))
A_SECOND = 10
KINDS = (ArtifactKind.HL7_ORU, ArtifactKind.HL7_OMI)

pytestmark = pytest.mark.timeout(SECONDS * 4 + 120)


class TimedRis(SimulatedRis):
    """Remembers when each message came; it is acknowledged at once."""

    def __init__(self):
        super().__init__()
        self.at = {}

    def _keep(self, message):
        self.at[message.split("|")[9]] = time.perf_counter()
        super()._keep(message)


@pytest.fixture
def ris():
    ris = TimedRis()
    ris.start()
    yield ris
    ris.stop()


@pytest.fixture
def story(tmp_path):
    url = f"sqlite:///{tmp_path / 'triage.db'}"
    upgrade(url)
    engine = open_engine(url)
    yield Story(SqlWorklist(engine))
    engine.dispose()


@pytest.fixture
def loop(story, ris):
    sender = Sender(
        worklist=story.worklist,
        transports={"ris": MllpTransport(Endpoint(host="127.0.0.1", port=ris.port))},
        clock=lambda: datetime.now(UTC),
        rng=Random(1),
        owner="s1",
        lease=timedelta(seconds=30),
    )
    loop = Loop("deliver-ris", lambda: sender.run_once("ris") > 0)
    loop.start()
    yield loop
    loop.stop()
    loop.join(10)
    sender.close()


def messages_of(result):
    header = Dataset()
    header.StudyInstanceUID, header.PatientID, header.AccessionNumber = result.study_instance_uid, "P1", "A1"
    context = ResultContext(result=result, headers=(header,))
    return [Shipment(artifact=REGISTRY[kind].build(context), destination="ris") for kind in KINDS]


def test_how_long_a_decision_takes_to_reach_a_ris(story, ris, loop, results):
    decided, begun = {}, time.perf_counter()
    for number in range(1, SECONDS * A_SECOND + 1):
        study = f"1.2.{number}"
        story.claimed(study)
        time.sleep(max(0.0, begun + number / A_SECOND - time.perf_counter()))
        started = time.perf_counter()
        shipments = messages_of(decision(study))
        assert story.decide(*shipments, study=study)
        loop.wake()
        decided |= {one.artifact.body.split(b"|")[9].decode(): started for one in shipments}
    took = time.perf_counter() - begun
    while len(ris.at) < len(decided) and time.perf_counter() < begun + took + 60:
        time.sleep(0.05)
    waits = np.array([ris.at[name] - started for name, started in decided.items()])
    assert len(ris.messages) == len(decided)
    report = {
        "route": "hl7 (ORU and OMI), SQLite, MLLP",
        "studies_a_second": round(SECONDS * A_SECOND / took, 2),
        "messages": len(decided),
        "p50_ms": round(float(np.percentile(waits, 50)) * 1000, 1),
        "p95_ms": round(float(np.percentile(waits, 95)) * 1000, 1),
        "max_ms": round(float(waits.max()) * 1000, 1),
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }
    (results / "hl7_latency.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))  # noqa: T201
