"""The agent's workitems over HTTP as a site has them: told of a raise on a WebSocket, claimed, read and completed."""

import json
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from support.ups_rs import JSON, PRIORITY, READER, WATCHER, element, state
from support.xrays import radiograph, send
from websockets.sync.client import connect

from triage_agent.domain.workitem import GLOBAL, workitem_uid

PROGRESS = 3
# Whatever is not normal is read at once, so that one image raises from LOW to HIGH.
TABLES = f"""
[[web.tokens]]
name = "READER"
token = "{READER}"
may = ["ups"]
[[web.tokens]]
name = "WATCHER"
token = "{WATCHER}"
may = ["query"]
[[policy.rules]]
name = "at once"
when = {{ finding = "abnormal" }}
priority = "stat"
acr_category = "1"
"""


@pytest.fixture
def running(agent, pacs, alarming_bundle):
    return agent(bundle=alarming_bundle, pacs_port=pacs.port, quiet=2, web="ups = true", tables=TABLES)


def ask(running, method, path, body=None, token=READER):
    url = f"http://127.0.0.1:{running.web_port}/dicom-web/workitems{path}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": JSON}
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def test_a_raise_from_low_to_high_is_told_at_once_and_the_study_read_over_http(running):
    image = radiograph(seed=1)
    uid = workitem_uid(image.StudyInstanceUID)
    ask(running, "POST", f"/{GLOBAL}/subscribers/WATCHER", {}, WATCHER)
    headers = {"Authorization": f"Bearer {WATCHER}"}
    url = f"ws://127.0.0.1:{running.web_port}/ws/subscribers/WATCHER"
    with connect(url, additional_headers=headers, open_timeout=60) as channel:
        send(running.port, image)
        while True:
            said, heard = json.loads(channel.recv(timeout=120)), datetime.now(UTC)
            if said["00001002"]["Value"] == [PROGRESS]:
                break
    assert (said["00001000"]["Value"], said[PRIORITY]["Value"]) == ([uid], ["HIGH"])
    took = heard - datetime.fromisoformat(running.item(image.StudyInstanceUID)["flagged_at"])
    print(f"told {took.total_seconds():.3f} s after the raise")  # noqa: T201 - `-s` shows it; an idle machine takes 0.3
    assert took < timedelta(seconds=30)  # of a loaded machine
    ask(running, "PUT", f"/{uid}/state", state("IN PROGRESS"))
    assert [one["00080018"]["Value"] for one in ask(running, "GET", "?ProcedureStepState=IN%20PROGRESS")] == [[uid]]
    performed = {
        "00404028": {"vr": "SQ", "Value": [coded("RAD1", "99SITE", "Reading room 1")]},
        "00404050": element("DT", "20260101120000"),
        "00404051": element("DT", "20260101120500"),
        "00404019": {"vr": "SQ", "Value": [coded("110005", "DCM", "Interpretation")]},
        "00404033": {"vr": "SQ"},
    }
    ask(running, "POST", f"/{uid}?transaction-uid=2.25.77", {"00741216": {"vr": "SQ", "Value": [performed]}})
    ask(running, "PUT", f"/{uid}/state", state("COMPLETED"))
    assert running.actions(image.StudyInstanceUID).count("workitem_changed") == 3


def coded(value, scheme, meaning):
    return {"00080100": element("SH", value), "00080102": element("SH", scheme), "00080104": element("LO", meaning)}
