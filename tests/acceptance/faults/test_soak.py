"""Studies at a steady rate for as long as one likes: nothing that the agent uses rises with time.

TRIAGE_SOAK_MINUTES and TRIAGE_SOAK_RATE make it long: 30 minutes at 10 studies a second. The model is a tiny one: what
is tried is the agent. Figures go to build/faults/soak.json, and a picture beside it.
"""

import json
import multiprocessing
import os
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from pydicom.uid import generate_uid
from support.agent import eventually
from support.gauges import growth, read
from support.xrays import radiograph, send

MINUTES = float(os.environ.get("TRIAGE_SOAK_MINUTES", "0.3"))
RATE = float(os.environ.get("TRIAGE_SOAK_RATE", "2"))
SENDERS = 2
OUT = Path(__file__).parents[3] / "build" / "faults"
_LOOKS = 240  # at most, in a run
_LAG = 300.0  # seconds that the last study may take

pytestmark = pytest.mark.timeout(60 * MINUTES + _LAG + 180)


def _send_steadily(port, first, every, seconds, sent):
    """An association a study, at its moment; a sender that comes late does not skip any."""
    image = radiograph(seed=first)
    began = time.monotonic()
    number = first
    while (moment := number * every) < seconds:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (generate_uid() for _ in range(3))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        answers = send(port, image)
        assert answers == {image.SOPInstanceUID: 0x0000}, answers
        with sent.get_lock():
            sent.value += 1
        number += SENDERS


def _delivered(agent):
    return agent.counts()["status"].get("delivered", 0)


def test_nothing_rises_under_a_steady_stream(agent, pacs, calm_bundle):
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, quiet=1)
    spawn = multiprocessing.get_context("spawn")
    sent, seconds = spawn.Value("i", 0), 60 * MINUTES
    senders = [
        spawn.Process(target=_send_steadily, args=(running.port, n, 1 / RATE, seconds, sent), daemon=True)
        for n in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    began, gauges = time.monotonic(), []
    while any(sender.is_alive() for sender in senders):
        gauges.append(read(running, since=began, sent=sent.value, delivered=_delivered(running)))
        time.sleep(max(0.5, seconds / _LOOKS))
    assert [sender.exitcode for sender in senders] == [0] * SENDERS
    took = time.monotonic() - began
    eventually(lambda: _delivered(running) == sent.value, _LAG, every=1.0)
    settled = time.monotonic() - began
    gauges.append(read(running, since=began, sent=sent.value, delivered=_delivered(running)))
    rises = {name: growth(gauges, name) for name in ("memory", "children", "descriptors", "threads", "association")}
    _keep(gauges, rises, took, settled)

    reports = Counter(one.StudyInstanceUID for one in pacs.objects if one.get("Modality") == "SR")
    assert len(reports) == sent.value
    assert set(reports.values()) == {1}
    if MINUTES >= 10:  # a line through less says nothing
        for name in ("memory", "children", "descriptors", "threads"):
            rise, level = rises[name]
            assert rise < 0.1 * level + 5, f"{name} rose by {rise:.1f} to {level:.1f}"


def _keep(gauges, rises, took, settled):
    OUT.mkdir(parents=True, exist_ok=True)
    document = {
        "minutes": MINUTES,
        "rate": RATE,
        "sent": gauges[-1].sent,
        "sent_a_second": gauges[-1].sent / took,
        "seconds_until_sent": took,
        "seconds_until_delivered": settled,
        "association_seconds_highest": max(one.association for one in gauges),
        "database_bytes_a_study": gauges[-1].database * (1 << 20) / max(1, gauges[-1].sent),
        "rises": {name: {"rise": rise, "median": level} for name, (rise, level) in rises.items()},
        "gauges": [asdict(one) for one in gauges],
    }
    (OUT / "soak.json").write_text(json.dumps(document, indent=1))
    _draw(gauges)


def _draw(gauges):
    shown = {
        "memory": "MiB, agent",
        "children": "MiB, decoders",
        "descriptors": "open files",
        "threads": "threads",
        "database": "MiB, database",
        "journal": "MiB, write-ahead log",
        "association": "s, association set-up",
    }
    figure = Figure(figsize=(8, 14))
    axes = figure.subplots(len(shown) + 1, 1, sharex=True)
    minutes = [one.at / 60 for one in gauges]
    for axis, (name, label) in zip(axes, shown.items(), strict=False):
        axis.plot(minutes, [getattr(one, name) for one in gauges], linewidth=1)
        axis.set_ylabel(label, fontsize=7)
        axis.set_ylim(bottom=0)
    axes[-1].plot(minutes, [one.sent - one.delivered for one in gauges], linewidth=1)
    axes[-1].set_ylabel("studies under way", fontsize=7)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(OUT / "soak.svg")
