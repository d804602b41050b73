"""Measures the time to flag: from the last byte of a study's first abnormal image to the priority at the RIS.

Senders, the RIS and the archive for reports are processes of their own on one machine, and so on one clock. The RIS
notes when it has a message whole. Reports of the same studies are made and sent meanwhile, as at a site.
"""

import os
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
from sqlalchemy import select
from support.agent import SETTLED, Agent, eventually
from support.arrivals import Senders, at_random
from support.routebench import _machine, _rows, _used
from support.routepeers import PeerProcess

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.tables import InstanceRow, OutboxRow, StudyRow

RIS, ARCHIVE = "ris", "archive"
SETTLING_SECONDS = 300.0  # for what is under way when the last study has come
ALLOWED_SECONDS = 1.0  # the goal: at most so much more than the model takes, at the 95th percentile
_SITE = """
[worker]
lease_seconds = 15
[delivery]
first_retry_seconds = 2
[study]
quiet_seconds = {quiet}
[[hl7.peers]]
name = "ris"
host = "127.0.0.1"
port = {ris}
[[dicom.peers]]
name = "archive"
ae_title = "PEER"
host = "127.0.0.1"
port = {archive}
may = []
[[routes]]
to = "ris"
send = ["hl7-oru"]
[[routes]]
to = "archive"
send = ["sr"]
"""


class ColdAgent(Agent):
    """Started anew: a fork would have the memory of what it is forked from."""

    def start(self, *, wait=True, cold=True):
        return super().start(wait=wait, cold=cold)


@contextmanager
def running_site(make, *, quiet):
    """(agent, peers): the agent that `make` makes of its tables, started, with a RIS and an archive around it.

    `quiet`: seconds without an image after which a study is complete; reports are made from then on.
    """
    peers = {RIS: PeerProcess("ris"), ARCHIVE: PeerProcess("store")}
    try:
        agent = make(_SITE.format(quiet=quiet, ris=peers[RIS].port, archive=peers[ARCHIVE].port))
        # As a site logs: what the tests ask for tells more.
        agent.config.write_text(agent.config.read_text().replace('level = "debug"', 'level = "info"'))
        try:
            agent.start(wait=True)
            yield agent, peers
        finally:
            agent.close()
    finally:
        for peer in peers.values():
            peer.close()


def measure(agent, peers, pictures, *, seconds, rate, images, before=0):
    """Send studies for so long, `rate` a second of `images` images, one in three abnormal; a document of the waits.

    `before`: studies that are there. The RIS is no more afterwards. Fails where anything did not come.
    """
    senders = Senders(agent.port, at_random(pictures.pairs, seconds=seconds, rate=rate, images=images))
    try:
        used, machine = _used(agent.pid), _machine()
        began = senders.start()
        sent = senders.sent()
        took = time.time() - began
        used, busy = _used(agent.pid) - used, _machine() - machine
    finally:
        senders.close()
    raised = [one for one in sent if one.raising]
    eventually(lambda: _all_told(agent, raised), SETTLING_SECONDS, every=0.5)
    eventually(lambda: _all_settled(agent, before + len(sent)), SETTLING_SECONDS, every=0.5)
    settled = time.time() - began - took
    came = peers[RIS].came()
    waits = [came[one.study] - one.ended for one in raised]
    assert min(waits) > 0
    cores = os.cpu_count() or 1
    return {
        "asked_seconds": seconds,
        "asked_studies_a_second": rate,
        "studies": len(sent),
        "studies_a_second": round(len(sent) / took, 2),
        "images_a_study": images,
        "flagged": len(raised),
        "flagged_while_receiving": len(_flags(agent) & {one.study for one in raised}),
        "picture": pictures.document(),
        "goal_p95_s": round(ALLOWED_SECONDS + pictures.model_seconds, 3),
        "wait_s": shape(waits),
        "stages_s": _stages(agent, raised, came),
        "late_s": shape([one.late for one in sent]),
        "settled_after_s": round(settled, 1),
        "agent_cpu_share": round(used / took / cores, 3),
        "machine_cpu_share": round(busy / took / cores, 3),
        "waits_s": sorted(round(wait, 4) for wait in waits),
    }


def shape(values):
    """Where a distribution lies."""
    if not values:
        return None
    p50, p90, p95, p99 = np.percentile(values, (50, 90, 95, 99))
    named = {"p50": p50, "p90": p90, "p95": p95, "p99": p99, "max": max(values)}
    return {name: round(float(value), 4) for name, value in named.items()}


# --- what became of it ------------------------------------------------------------------------------------------------
def _all_told(agent, raised):
    """Whether the RIS has a message of each: its flag, or its report where the flag took longer than the quiet time."""
    row = OutboxRow
    taken = select(row.study_instance_uid).where(row.destination == RIS, row.state == DeliveryState.SENT)
    return {one.study for one in raised} <= {uid for (uid,) in _rows(agent, taken)}


def _flags(agent):
    """Studies that were raised before they were complete."""
    row = OutboxRow
    early = select(row.study_instance_uid).where(row.destination == RIS, row.of_decision.is_(False))
    return {uid for (uid,) in _rows(agent, early)}


def _all_settled(agent, studies):
    states = Counter(str(status) for (status,) in _rows(agent, select(StudyRow.status)))
    return sum(states[one] for one in SETTLED) == studies


def _stages(agent, raised, came):
    """Where the time went: until the image was registered, until it was scored and committed, until the RIS had it."""
    row = InstanceRow
    first = {}
    for uid, received, assessed in _rows(agent, select(row.study_instance_uid, row.received_at, row.assessed_at)):
        known = first.setdefault(uid, (received, assessed))
        first[uid] = min(known, (received, assessed))
    found = {"received": [], "scored": [], "told": []}
    for one in raised:
        received, assessed = (moment.timestamp() for moment in first[one.study])
        found["received"].append(received - one.ended)
        found["scored"].append(assessed - received)
        found["told"].append(came[one.study] - assessed)
    return {name: shape(values) for name, values in found.items()}
