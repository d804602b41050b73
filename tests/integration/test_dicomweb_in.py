"""STOW-RS into the agent: from Orthanc's DICOMweb plug-in, from our own client, and from senders with bad manners."""

import http.client
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from support.agent import eventually, free_port
from support.certificates import Authority
from support.instances import dx, part10
from support.orthanc import orthanc_server

from triage_agent.delivery.registry import REGISTRY
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError, StorageExhaustedError
from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.sections.http import HttpPeerSettings
from triage_agent.web.access import Access, Caller
from triage_agent.web.app import build_app
from triage_agent.web.server import ServerTls, WebServer
from triage_agent.web.storing import Door
from triage_agent.web.stow import Pace, Stow
from triage_agent.worklist.memory import MemoryWorklist

STORES, READS = "s" * 32, "r" * 32  # tokens
CALLERS = (
    Caller(name="EDGE", token=STORES, may=frozenset({"store"})),
    Caller(name="READER", token=READS, may=frozenset({"read"})),
)
RULE = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))


class Site:
    """A web server with the service, as the listener wires it."""

    def __init__(self, folder, *, callers=CALLERS, tls=None, pace=None, port=None):
        self.spool, self.worklist = Spool(folder / "spool", low_water_percent=0), MemoryWorklist()
        receiver = Receiver(self.spool, self.worklist, RULE, lambda: datetime.now(UTC))
        self.door = Door(begin=receiver.begin, receive=receiver.keep)
        self.stow = Stow(Access(callers), pace or Pace())
        self.port = port or free_port()
        app = build_app({}, lambda: b"", "9.9", [self.stow.router])
        self.server = WebServer(app, "127.0.0.1", self.port, tls)
        self.server.start()
        self.shut = self.stow.open(self.door)

    def known(self, image):
        return self.worklist.digest_of(str(image.SOPInstanceUID)) is not None

    def ask(self, body, token=STORES, path="/dicom-web/studies", boundary="b", **headers):
        """Status, headers and JSON of one request."""
        sent = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}', **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def unfinished(self):
        return [path for path in (self.spool.root / "tmp").iterdir() if path.is_file()]


@pytest.fixture
def run(tmp_path):
    sites = []

    def run(**options):
        sites.append(Site(tmp_path / str(len(sites)), **options))
        return sites[-1]

    yield run
    for site in sites:
        site.server.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def body(*images):
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(image) + b"\r\n" for image in images]
    return b"".join(parts) + b"--b--\r\n"


def transport_to(**settings):
    return REGISTRY["dicomweb"](HttpPeerSettings(**{"name": "agent", "timeout_seconds": 20, **settings}).endpoint())


@pytest.mark.external
def test_orthanc_sends_its_studies(run, tmp_path):
    site = run()
    images = [dx() for _ in range(3)]
    (tmp_path / "orthanc").mkdir()
    agent = {"Url": f"http://127.0.0.1:{site.port}/dicom-web/", "HttpHeaders": {"Authorization": f"Bearer {STORES}"}}
    with orthanc_server(tmp_path / "orthanc", dicomweb=True, servers={"triage": agent}) as orthanc:
        numbers = []
        for image in images:
            (tmp_path / "one.dcm").write_bytes(part10(image))
            numbers.append(orthanc.upload(tmp_path / "one.dcm"))
        orthanc.ask("dicom-web/servers/triage/stow", {"Resources": numbers, "Synchronous": True})
    assert all(map(site.known, images))


def test_our_own_client_is_answered_for_each_object(run):
    site = run()
    transport = transport_to(url=f"http://127.0.0.1:{site.port}/dicom-web", token=STORES)
    image = dx()
    transport.send(Artifact(kind=ArtifactKind.SR, uid=str(image.SOPInstanceUID), body=part10(image), summary=""))
    assert site.known(image)
    with pytest.raises(DeliveryError, match="0xA900") as caught:
        transport.send(Artifact(kind=ArtifactKind.SR, uid="2.25.3", body=b"no DICOM", summary=""))
    assert caught.value.permanent
    transport.close()


def test_each_instance_of_a_request_has_its_own_answer(run):
    good, other = dx(), dx()
    status, _, said = run().ask(body(good, other), path=f"/dicom-web/studies/{good.StudyInstanceUID}")
    assert status == 202
    (stored,) = said["00081199"]["Value"]
    (failed,) = said["00081198"]["Value"]
    assert stored["00081155"]["Value"] == [str(good.SOPInstanceUID)]
    assert (failed["00081155"]["Value"], failed["00081197"]["Value"]) == ([str(other.SOPInstanceUID)], [0xA900])


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"token": ""}, 401),
        ({"token": "x" * 32}, 401),
        ({"token": READS}, 403),
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'}, 415),
        ({"Content-Type": "multipart/related"}, 400),
        ({"Content-Type": "multipart/related; boundary=" + "b" * 2000}, 400),
        ({"boundary": "c"}, 400),
        ({"path": "/dicom-web/studies/not-a-uid"}, 400),
    ],
)
def test_what_is_not_admitted_stores_nothing(request_of, status, run):
    site, image = run(), dx()
    got, headers, _ = site.ask(body(image), **request_of)
    assert got == status
    assert not site.known(image)
    assert ("www-authenticate" in headers) is (status == 401)


def test_a_full_disk_is_told_of_so_that_the_sender_tries_again(run):
    site, image = run(), dx()

    def receive(incoming):
        raise StorageExhaustedError("full")

    site.stow.open(Door(begin=site.door.begin, receive=receive))
    status, headers, said = site.ask(body(image))
    assert (status, headers["retry-after"]) == (503, "10")
    assert said["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]
    site.shut()
    assert site.ask(body(image))[0] == 503


def test_many_senders_at_once_are_all_served_and_probes_too(run):
    site = run()
    images = [dx() for _ in range(60)]
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda image: site.ask(body(image))[0], images))
    assert statuses == [200] * 60
    assert all(map(site.known, images))


def test_more_senders_than_there_is_room_for_are_told_to_come_again(run):
    site, gate, began = run(), threading.Event(), threading.Semaphore(0)

    def receive(incoming):
        began.release()
        gate.wait(20)
        return receiver(incoming)

    receiver = site.door.receive
    site.stow.open(Door(begin=site.door.begin, receive=receive))
    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(site.ask, body(dx())) for _ in range(20)]
        for _ in range(20):
            assert began.acquire(timeout=20)
        assert site.ask(body(dx()))[0] == 503
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        gate.set()
        assert [one.result(20)[0] for one in asked] == [200] * 20


def large():
    image = dx()
    image.add_new(0x7FE00010, "OB", Random(1).randbytes(1 << 20))
    return image


def start(site, content, length):
    """A request whose body begins."""
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=20)
    connection.sendall(
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + STORES.encode() + b"\r\n"
        b"Content-Type: multipart/related; boundary=b\r\nContent-Length: "
        + str(length).encode()
        + b"\r\n\r\n"
        + content
    )
    return connection


def test_a_sender_that_goes_away_leaves_nothing_behind(run):
    site, content = run(), body(large())
    connection = start(site, content[: len(content) // 2], len(content))
    eventually(site.unfinished, 20)
    connection.close()
    eventually(lambda: not site.unfinished(), 20)
    assert not site.worklist.items()


def test_a_sender_that_falls_silent_is_answered_and_leaves_nothing_behind(run):
    site, content = run(pace=Pace(seconds=0.3, slowest=0)), body(large())
    connection = start(site, content[: len(content) // 2], len(content))
    assert b" 408 " in connection.recv(100)
    connection.close()
    eventually(lambda: not site.unfinished(), 20)


def test_a_sender_that_drips_is_answered(run):
    site, content = run(pace=Pace(seconds=0.3, slowest=1e6)), body(large())
    connection = start(site, content[:1000], len(content))
    connection.settimeout(0.02)
    said, deadline = b"", time.monotonic() + 20
    while not said:
        assert time.monotonic() < deadline
        try:
            connection.sendall(b"x")
            said = connection.recv(100)
        except TimeoutError:
            continue
    assert b" 408 " in said
    connection.close()


class TestTls:
    def test_with_a_ca_nobody_is_served_without_a_certificate_and_no_token_is_needed(self, run, authority):
        files = authority.files("agent")
        site = run(callers=(), tls=ServerTls(certificate=files.certificate, key=files.key, ca=authority.ca))
        certificate, key = authority.issue("edge")
        url = f"https://localhost:{site.port}/dicom-web"
        image = dx()
        artifact = Artifact(kind=ArtifactKind.SR, uid=str(image.SOPInstanceUID), body=part10(image), summary="")
        stranger = transport_to(url=url, ca=authority.ca)
        with pytest.raises(DeliveryError):
            stranger.send(artifact)
        stranger.close()
        assert not site.known(image)
        known = transport_to(url=url, ca=authority.ca, certificate=certificate, key=key)
        known.send(artifact)
        known.close()
        assert site.known(image)

    def test_old_protocols_are_refused(self, run, authority):
        files = authority.files("agent")
        site = run(tls=ServerTls(certificate=files.certificate, key=files.key))
        context = ssl.create_default_context(cafile=authority.ca)
        with (
            socket.create_connection(("127.0.0.1", site.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            assert secured.version() in {"TLSv1.2", "TLSv1.3"}
