"""Events of workitems on a WebSocket (PS3.18 section 11.13): in order, nothing forgotten, and for nobody else."""

import json
import ssl
import time
import urllib.request
from datetime import timedelta

import pytest
from pydicom import Dataset
from support.certificates import Authority
from support.listener import utc_now
from support.story import STUDY, flag
from support.ups import GLOBAL
from support.ups_rs import EDGE, PRIORITY, READER, STATE, WATCHER, first, state, wait_for, web_site
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import ReportType, workitem_uid
from triage_agent.web import events
from triage_agent.web.server import ServerTls

ITEM = workitem_uid(STUDY)


@pytest.fixture
def site(sqlite_url):
    with web_site(sqlite_url) as site:
        site.story.receive(STUDY, patient_id="P1")
        site.workitems.tell_changes(site.story.now, 10)  # of what came before anybody subscribed
        site.step()  # it drops what is old by the real clock now, and not again for a minute
        yield site


@pytest.fixture
def subscribed(site):
    assert site.ask("POST", f"/{GLOBAL}/subscribers/WATCHER", b"", token=WATCHER).status == 201
    return site


def raise_to(site, priority):
    site.story.receive(STUDY, requested_priority=priority)


def heard(channel, number, seconds=20):
    """The next reports: [(kind, workitem, report)]."""
    said = [json.loads(channel.recv(timeout=seconds)) for _ in range(number)]
    return [(first(one, "00001002"), first(one, "00001000"), one) for one in said]


def tell(site):
    while site.step():
        pass


def test_a_raise_is_told_as_dicom_json(subscribed):
    with subscribed.listen() as channel:
        subscribed.worklist.raise_flag(flag(at=subscribed.story.tick()), (), subscribed.story.now)
        tell(subscribed)
        ((kind, uid, said),) = heard(channel, 1)
    assert (kind, uid, first(said, PRIORITY)) == (ReportType.PROGRESS, ITEM, "MEDIUM")
    assert (first(said, "00000002"), first(said, "00000110")) == ("1.2.840.10008.5.1.4.34.6.4", 1)
    (progress,) = Dataset.from_json(said).ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepProgressDescription == "priority MEDIUM, was LOW"


def test_a_raise_from_low_to_high_is_announced_within_a_second_or_so(subscribed):
    with subscribed.listen() as channel, subscribed.telling():
        began = time.monotonic()
        raise_to(subscribed, Priority.STAT)
        ((kind, uid, said),) = heard(channel, 1)
        took = time.monotonic() - began
    assert (kind, uid, first(said, PRIORITY)) == (ReportType.PROGRESS, ITEM, "HIGH")
    assert took < 10  # of the machine's slowness; an idle one takes a tenth of a second


def test_changes_by_http_are_told_in_order(subscribed):
    with subscribed.listen() as channel:
        subscribed.ask("PUT", f"/{ITEM}/state", state("IN PROGRESS"))
        assert subscribed.ask("POST", f"/{ITEM}/cancelrequest", b"").status == 202  # somebody hears it
        tell(subscribed)
        claimed, wish = heard(channel, 2)
    assert (claimed[0], first(claimed[2], STATE)) == (ReportType.STATE, "IN PROGRESS")
    assert (wish[0], first(wish[2], "00741236")) == (ReportType.CANCEL_REQUESTED, "READER")


def test_what_happens_while_nobody_listens_waits_and_comes_in_order(subscribed):
    raise_to(subscribed, Priority.URGENT)
    subscribed.workitems.tell_changes(subscribed.story.now, 10)
    raise_to(subscribed, Priority.STAT)
    tell(subscribed)
    with subscribed.listen() as channel:
        tell(subscribed)
        assert [first(said, PRIORITY) for _, _, said in heard(channel, 2)] == ["MEDIUM", "HIGH"]


def test_after_a_break_the_channel_goes_on_where_it_ended(subscribed):
    with subscribed.listen() as channel:
        raise_to(subscribed, Priority.URGENT)
        tell(subscribed)
        assert len(heard(channel, 1)) == 1
    wait_for(lambda: not subscribed.channels.listening)
    raise_to(subscribed, Priority.STAT)
    with subscribed.listen() as channel, subscribed.telling():
        ((_, _, said),) = heard(channel, 1)
    assert first(said, PRIORITY) == "HIGH"


def test_what_nobody_listened_for_is_dropped_in_the_end(subscribed):
    raise_to(subscribed, Priority.STAT)
    subscribed.workitems.tell_changes(subscribed.story.now, 10)
    now = utc_now()
    assert subscribed.workitems.drop_reports({"READER"}, now, now) == 0
    assert subscribed.workitems.drop_reports({"WATCHER"}, now - timedelta(days=9999), now) == 0
    assert subscribed.workitems.drop_reports({"WATCHER"}, now, now) == 1
    assert subscribed.workitems.claim_reports(now, now, (), 10) == []


def test_each_connection_of_a_subscriber_hears_it(subscribed):
    with subscribed.listen() as one, subscribed.listen(path="/dicom-web/subscribers") as other, subscribed.telling():
        raise_to(subscribed, Priority.STAT)
        assert heard(one, 1)[0][:2] == heard(other, 1)[0][:2] == (ReportType.PROGRESS, ITEM)


def test_others_hear_nothing(subscribed):
    with subscribed.listen("READER", READER) as other, subscribed.listen() as own, subscribed.telling():
        raise_to(subscribed, Priority.STAT)
        assert len(heard(own, 1)) == 1
        with pytest.raises(TimeoutError):
            other.recv(timeout=0.3)


def test_one_that_reads_nothing_is_cut_off_and_holds_up_nobody(subscribed, monkeypatch):
    """It takes nothing more once its buffers are full: as if one report did not end."""
    monkeypatch.setattr(events, "_SEND_SECONDS", 0.3)
    subscribed.ask("POST", f"/{GLOBAL}/subscribers/READER", b"")

    async def never(_socket, _text):
        await events.asyncio.sleep(60)

    with subscribed.listen() as stuck:
        with monkeypatch.context() as patched:
            patched.setattr(events.WebSocket, "send_text", never)
            raise_to(subscribed, Priority.STAT)
            wait_for(lambda: not subscribed.step())
        with pytest.raises(ConnectionClosed):
            stuck.recv(timeout=20)
    with subscribed.listen("READER", READER) as other, subscribed.telling():
        assert len(heard(other, 1)) == 1
    with subscribed.listen() as back, subscribed.telling():
        assert len(heard(back, 1)) == 1


@pytest.mark.parametrize(
    ("receiver", "token", "headers", "status"),
    [
        ("WATCHER", "x" * 32, {}, 401),
        ("WATCHER", EDGE, {}, 403),
        ("READER", WATCHER, {}, 403),
        ("PACS", READER, {}, 404),
        ("WATCHER", WATCHER, {"origin": "https://elsewhere.example"}, 403),
    ],
)
def test_who_may_not_listen_is_refused_before_the_upgrade(site, receiver, token, headers, status):
    with pytest.raises(InvalidStatus) as refused:
        site.listen(receiver, token, **headers)
    assert refused.value.response.status_code == status


def test_a_page_of_our_own_origin_may_listen(site):
    with site.listen(origin=f"http://127.0.0.1:{site.port}") as channel:
        channel.ping().wait(20)


def test_connections_are_counted(site, monkeypatch):
    monkeypatch.setattr(events, "_MOST_OF_ONE", 2)
    with site.listen(), site.listen():
        with pytest.raises(InvalidStatus) as refused:
            site.listen()
        assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (503, "30")
        with site.listen("READER", READER):
            pass
    monkeypatch.setattr(events, "_MOST", 0)
    with pytest.raises(InvalidStatus):
        site.listen("READER", READER)


def test_long_messages_end_the_connection_and_short_ones_are_ignored(site):
    with site.listen() as channel:
        for _ in range(50):
            channel.send("hello")
        channel.ping().wait(20)
        channel.send("x" * 10_000)
        with pytest.raises(ConnectionClosed):
            channel.recv(timeout=20)


def test_the_server_ends_with_channels_open(sqlite_url):
    with web_site(sqlite_url) as site, site.listen() as channel:
        site.server.stop()
        with pytest.raises(ConnectionClosed):
            channel.recv(timeout=20)
        assert not site.step()


def test_with_tls_the_channel_is_secured_and_said_to_be(sqlite_url, tmp_path):
    authority = Authority(tmp_path)
    files = authority.files("triage")
    tls = ServerTls(certificate=files.certificate, key=files.key)
    trusting = ssl.create_default_context(cafile=authority.ca)
    with web_site(sqlite_url, tls=tls) as site:
        url = f"https://localhost:{site.port}/dicom-web/workitems/{GLOBAL}/subscribers/WATCHER"
        request = urllib.request.Request(url, b"", {"Authorization": f"Bearer {WATCHER}"}, method="POST")
        with urllib.request.urlopen(request, timeout=20, context=trusting) as made:  # noqa: S310 - our own server
            where = made.headers["Content-Location"]
        assert where == f"wss://localhost:{site.port}/ws/subscribers/WATCHER"
        headers = {"Authorization": f"Bearer {WATCHER}"}
        with connect(where, additional_headers=headers, ssl=trusting, open_timeout=20) as channel, site.telling():
            site.story.receive(STUDY)
            ((kind, uid, _),) = heard(channel, 1)
    assert (kind, uid) == (ReportType.STATE, ITEM)
