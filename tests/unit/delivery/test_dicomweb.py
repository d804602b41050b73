"""STOW-RS against a server of the test's own; the same against Orthanc is tests/integration/test_dicomweb_out.py."""

import json
from datetime import timedelta

import pytest
from support.http_peer import Said, http_peer

from triage_agent.delivery.dicomweb import DicomwebTransport, StoreAnswer, read_store_answer
from triage_agent.delivery.endpoint import Endpoint, HttpAccess
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

BODY = b"\0" * 128 + b"DICM and\r\n--what follows"
ARTIFACT = Artifact(kind=ArtifactKind.SR, uid="2.25.1", body=BODY, summary="")


def stored(uid="2.25.1", **more):
    return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}, **more}


def failed(reason, uid="2.25.1"):
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def said(status, content=None, **headers):
    body = b"" if content is None else json.dumps(content).encode()
    return Said(status, body, {"Content-Type": "application/dicom+json", **headers})


def transport_to(peer, **http):
    access = HttpAccess(**{"path": "/dicom-web", "authorization": "Bearer s3cret", **http})
    return DicomwebTransport(Endpoint(host="127.0.0.1", port=peer.port, http=access, answer_seconds=20))


def send(answer):
    """What sending raises; None where the object was taken."""
    with http_peer(answer) as peer:
        transport = transport_to(peer)
        try:
            transport.send(ARTIFACT)
        except DeliveryError as error:
            return error
        finally:
            transport.close()
    return None


def test_an_object_goes_whole_in_one_part_to_the_studies_of_the_url():
    with http_peer(said(200, stored())) as peer:
        transport = transport_to(peer)
        transport.send(ARTIFACT)
        transport.close()
    (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/dicom-web/studies")
    assert asked.headers["authorization"] == "Bearer s3cret"
    assert asked.headers["accept"] == "application/dicom+json"
    kind, *parameters = asked.headers["content-type"].split("; ")
    boundary = dict(parameter.split("=", 1) for parameter in parameters)["boundary"].encode()
    assert kind == "multipart/related"
    assert 'type="application/dicom"' in parameters
    _, part, end = asked.body.split(b"--" + boundary)
    assert part == b"\r\nContent-Type: application/dicom\r\n\r\n" + BODY + b"\r\n"
    assert end == b"--\r\n"


def test_one_connection_serves_many_objects_and_a_closed_one_is_made_again():
    answers = [said(200, stored(), Connection="close"), *[said(200, stored())] * 3]
    with http_peer(lambda _: answers.pop(0)) as peer:
        transport = transport_to(peer)
        for _ in range(4):
            transport.send(ARTIFACT)
        transport.close()
    assert (peer.connections, len(peer.asked)) == (2, 4)


def test_a_kept_connection_that_ends_under_an_object_costs_nothing():
    answers = [said(200, stored()), None, said(200, stored())]
    with http_peer(lambda _: answers.pop(0)) as peer:
        transport = transport_to(peer)
        transport.send(ARTIFACT)
        transport.send(ARTIFACT)
        transport.close()
    assert (peer.connections, len(peer.asked)) == (2, 3)


@pytest.mark.parametrize(
    "answer",
    [
        said(200, stored()),
        said(200),  # the status says it
        said(200, [stored()]),
        said(202, stored(**{"00081190": {"vr": "UR", "Value": ["x"]}})),  # with a warning
        said(409, failed(0x0111)),  # it has it
        said(200, failed(0x0110, uid="2.25.77")),  # somebody else's
    ],
)
def test_what_is_stored_is_sent(answer):
    assert send(answer) is None


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [
        (said(409, failed(0xA700)), False),
        (said(409, failed(0x0110)), False),
        (said(409, failed(0xA900)), True),
        (said(409, failed(0xC122)), True),
        (said(409, failed(0x0122)), True),
        (said(409, {"0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA900]}}]}}), True),
        (said(200, failed(0xC000)), True),  # whatever the status says
        (said(202, failed(0xA701)), False),
        (said(202), False),  # some of it was stored: of one object that says nothing
        (said(409), False),
        (said(400), False),
        (said(401), False),
        (said(403), False),
        (said(404), False),
        (said(500), False),
        (said(301, None, Location="http://elsewhere.invalid/"), False),
        (said(413), True),
        (said(415), True),
    ],
)
def test_what_is_not_stored_is_tried_again_unless_that_cannot_help(answer, permanent):
    error = send(answer)
    assert error is not None
    assert error.permanent is permanent
    assert not error.away
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_has_no_time_is_left_alone_as_long_as_it_asks(status):
    error = send(said(status, None, **{"Retry-After": "90"}))
    assert (error.permanent, error.away, error.retry_after) == (False, True, timedelta(seconds=90))


@pytest.mark.parametrize(
    ("said_after", "seconds"),
    [("0", 0), ("99999999", 3600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("-5", None), ("1e9", None)],
)
def test_a_wish_to_be_left_alone_is_bounded_and_nonsense_is_none(said_after, seconds):
    wish = send(said(503, None, **{"Retry-After": said_after})).retry_after
    assert wish == (None if seconds is None else timedelta(seconds=seconds))


def test_an_answer_that_never_ends_is_not_read_to_its_end():
    error = send(said(200, "x" * (2 << 20)))
    assert not error.permanent
    assert "no end" in error.message


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 100_000, b"null", b"[]", b"7", b'{"00081198": 1}', b'{"00081198": {"Value": {"a": 1}}}'],
)
def test_an_answer_that_cannot_be_read_says_nothing(body):
    assert read_store_answer(body, "2.25.1") == StoreAnswer()


def test_a_failure_without_a_readable_reason_is_a_failure_in_processing():
    for item in (7, {}, {"00081197": {"Value": ["x"]}}, {"00081197": {"Value": [True]}}):
        body = json.dumps({"00081198": {"Value": [item]}}).encode()
        assert read_store_answer(body, "2.25.1") == StoreAnswer(stored=False, reason=0x0110)


def test_a_check_asks_for_no_patient_s_data():
    with http_peer(said(200, [])) as peer:
        transport = transport_to(peer)
        assert "/dicom-web" in transport.check()
        transport.close()
    (asked,) = peer.asked
    assert asked.method == "GET"
    assert asked.path.startswith("/dicom-web/studies?StudyInstanceUID=2.25.")


@pytest.mark.parametrize(("status", "well"), [(204, True), (405, True), (501, True), (401, False), (403, False)])
def test_a_check_tells_whom_the_server_lets_in(status, well):
    with http_peer(Said(status)) as peer:
        transport = transport_to(peer)
        if well:
            assert transport.check()
        else:
            with pytest.raises(DeliveryError, match=str(status)):
                transport.check()
        transport.close()
