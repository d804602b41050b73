"""Results sent as workitems by UPS-RS: to our own service, and to a server that misbehaves."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from support.http_peer import Said, http_peer
from support.ups_rs import ITEM_OF_ROUTE as UID
from support.ups_rs import PRIORITY, READER, STATE, WATCHER, element, first, route_artifact, state, web_site

from triage_agent.delivery.dicomweb import DicomwebTransport
from triage_agent.delivery.endpoint import Endpoint, HttpAccess
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import Priority

artifact = route_artifact


@contextmanager
def transport_to(port, token=READER):
    access = HttpAccess(path="/dicom-web", authorization=f"Bearer {token}")
    transport = DicomwebTransport(Endpoint(host="127.0.0.1", port=port, http=access, answer_seconds=20))
    try:
        yield transport
    finally:
        transport.close()


@pytest.fixture
def owner(sqlite_url):
    with web_site(sqlite_url) as site:
        yield site


@pytest.fixture
def transport(owner):
    with transport_to(owner.port) as transport:
        yield transport


def kept(owner):
    return owner.ask("GET", f"/{UID}").json


def test_a_result_makes_the_workitem_of_its_study(owner, transport):
    transport.send(artifact())
    found = kept(owner)
    assert (first(found, PRIORITY), first(found, STATE)) == ("MEDIUM", "SCHEDULED")
    assert first(found, "00100010") == {"Alphabetic": "Müller^Jürgen"}
    assert [one["00080018"]["Value"][0] for one in owner.search().json] == [UID]


def test_a_resend_and_a_later_result_change_the_same_workitem(owner, transport):
    transport.send(artifact())
    transport.send(artifact())
    transport.send(artifact(revision=2, priority=Priority.STAT))
    assert len(owner.search().json) == 1
    assert first(kept(owner), PRIORITY) == "HIGH"


def test_a_priority_that_the_server_has_is_never_lowered(owner, transport):
    transport.send(artifact(priority=Priority.STAT))
    transport.send(artifact(revision=2, priority=Priority.ROUTINE))
    assert first(kept(owner), PRIORITY) == "HIGH"


def test_one_that_is_being_read_is_left_alone(owner, transport):
    transport.send(artifact())
    assert owner.ask("PUT", f"/{UID}/state", state("IN PROGRESS")).status == 200
    transport.send(artifact(revision=2, priority=Priority.STAT))
    assert first(kept(owner), PRIORITY) == "MEDIUM"


def test_a_token_that_may_not_is_no_permanent_failure(owner):
    with transport_to(owner.port, WATCHER) as transport, pytest.raises(DeliveryError, match="answered 403") as caught:
        transport.send(artifact())
    assert not caught.value.permanent


def there(**changes):
    said = {STATE: element("CS", "SCHEDULED"), PRIORITY: element("CS", "LOW"), **changes}
    return Said(200, json.dumps([said]).encode())


def against(*answers):
    """Send one workitem to a server that answers so, one after the other: what was raised, and what it was asked."""
    left = list(answers)
    with http_peer(lambda _asked: left.pop(0)) as peer, transport_to(peer.port) as transport:
        try:
            transport.send(artifact(priority=Priority.URGENT))
        except DeliveryError as error:
            return error, [(one.method, one.path, one.body) for one in peer.asked]
        assert not left
        return None, [(one.method, one.path, one.body) for one in peer.asked]


def test_what_is_sent_is_what_the_standard_has():
    error, ((method, path, body),) = against(Said(201))
    assert (error, method, path) == (None, "POST", f"/dicom-web/workitems?workitem={UID}")
    said = json.loads(body)
    assert (first(said, PRIORITY), first(said, STATE)) == ("MEDIUM", "SCHEDULED")
    assert not {"00080016", "00080018", "00020010"} & said.keys()


def test_an_update_says_only_what_a_result_changes():
    error, asked = against(Said(409), there(), Said(200))
    assert error is None
    assert [one[:2] for one in asked[1:]] == [
        ("GET", f"/dicom-web/workitems/{UID}"),
        ("POST", f"/dicom-web/workitems/{UID}"),
    ]
    assert json.loads(asked[2][2]).keys() == {"00080005", PRIORITY, "00741204", "00400400", "00404041", "00404021"}


@pytest.mark.parametrize(
    "answers",
    [
        (Said(409), there(**{STATE: element("CS", "COMPLETED")})),
        (Said(409), Said(410)),
        (Said(409), there(), Said(410)),
        (Said(409), there(), Said(409), there(**{STATE: element("CS", "IN PROGRESS")})),
        (Said(409), there(), Said(400), there(**{STATE: element("CS", "CANCELED")})),
    ],
)
def test_what_somebody_has_taken_is_left_alone(answers):
    error, _ = against(*answers)
    assert error is None


@pytest.mark.parametrize(
    ("answers", "permanent", "away"),
    [
        ((Said(500),), False, False),
        ((Said(503, b"", {"Retry-After": "7"}),), False, True),
        ((Said(415),), True, False),
        ((Said(409), Said(404)), False, False),
        ((Said(409), Said(200, b"<html>")), False, False),
        ((Said(409), Said(200, b"[" * 5000)), False, False),
        ((Said(409), Said(200, b"[]")), False, False),
        ((Said(409), Said(200, b'{"00741000": 5}')), False, False),
        ((Said(409), there(), Said(409), there()), False, False),
        ((Said(409), there(), None, None), False, True),
        ((None, None), False, True),
    ],
)
def test_what_goes_wrong_says_whether_a_retry_can_help(answers, permanent, away):
    error, _ = against(*answers)
    assert (error.permanent, error.away) == (permanent, away)
    assert error.retry_after in {None, timedelta(seconds=7)}
