"""The audit log goes to a real syslog receiver, over TLS with certificates for both sides, and none is lost."""

import socket
import threading
from datetime import UTC, datetime
from itertools import count
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import text
from support.auditing import fill, seal_all, unguarded
from support.certificates import Authority
from support.migrated import migrated
from support.ports import free_port
from support.rsyslog import Rsyslog

from triage_agent.audit.recipes import MESSAGES
from triage_agent.audit_parts import SYSLOG
from triage_agent.auditing import build_forwarder
from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import build_settings
from triage_agent.worklist import SqlAuditLog, SqlWorklist, open_engine

RECORDS = 120


@pytest.fixture
def site(tmp_path):
    url = migrated(tmp_path / "triage.db")
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    yield worklist, SqlAuditLog(worklist.database)
    engine.dispose()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def forwarder(log, **audit):
    settings = build_settings({"audit": audit}, "test")
    made = build_forwarder(settings, log, lambda: datetime.now(UTC))
    made._count = count(step=100).__next__  # waits between tries are over at once
    return made


def over_tls(authority, port, **changes):
    certificate, key = authority.issue("agent")
    values = {"syslog_ca": authority.ca, "syslog_certificate": certificate, "syslog_key": key, "syslog_seconds": 20}
    return {"syslog": f"tls://localhost:{port}", **values, **changes}


def send_all(sender):
    while sender.step():
        pass


def expected(log):
    """The positions of the records that make a message."""
    return [seal.position for seal, record in log.links(0, 10_000) if record.event.action.value in MESSAGES]


@pytest.mark.external
def test_rsyslog_takes_every_message_over_tls(site, authority, tmp_path):
    worklist, log = site
    fill(worklist, RECORDS)
    seal_all(log)
    with Rsyslog(tmp_path / "rsyslog", free_port(), authority.files("rsyslog")) as receiver:
        send_all(forwarder(log, **over_tls(authority, receiver.port)))
        lines = receiver.await_lines(len(expected(log)))
    assert [int(line[1]) for line in lines] == expected(log)
    assert {line[2:4] for line in lines} == {("triage-agent", "DICOM+RFC3881")}
    assert {int(line[0]) for line in lines} <= {10 * 8 + 5, 10 * 8 + 4}
    for line in lines:
        assert ET.fromstring(line[4].lstrip("\ufeff")).tag == "AuditMessage"  # noqa: S314, our own
    assert log.behind(SYSLOG).number == 0


@pytest.mark.external
def test_what_is_recorded_while_rsyslog_is_away_comes_when_it_is_back(site, authority, tmp_path):
    worklist, log = site
    receiver = Rsyslog(tmp_path / "rsyslog", free_port(), authority.files("rsyslog"))
    sender = forwarder(log, **over_tls(authority, receiver.port))
    for round_ in range(3):
        fill(worklist, RECORDS, first=1 + 2 * round_ * RECORDS)
        seal_all(log)
        assert not sender.step()
        behind = log.behind(SYSLOG)
        assert behind.number == RECORDS
        assert "refused" in behind.last_error.lower()
        with receiver:
            send_all(sender)
            fill(worklist, RECORDS, first=1 + (2 * round_ + 1) * RECORDS)
            seal_all(log)
            send_all(sender)
            receiver.await_lines(len(expected(log)))
        assert log.behind(SYSLOG).last_error is None
    assert [int(line[1]) for line in receiver.lines()] == expected(log)


@pytest.mark.external
def test_rsyslog_takes_every_message_over_plain_tcp(site, tmp_path):
    worklist, log = site
    fill(worklist, RECORDS)
    seal_all(log)
    with Rsyslog(tmp_path / "rsyslog", free_port()) as receiver:
        send_all(forwarder(log, syslog=f"tcp://127.0.0.1:{receiver.port}"))
        assert [int(line[1]) for line in receiver.await_lines(len(expected(log)))] == expected(log)


@pytest.mark.external
def test_a_receiver_is_not_believed_without_a_certificate_of_the_ca(site, authority, tmp_path):
    worklist, log = site
    fill(worklist, 10)
    seal_all(log)
    stranger = Authority(tmp_path / "other", name="Nobody's CA")
    with Rsyslog(tmp_path / "rsyslog", free_port(), stranger.files("rsyslog")) as receiver:
        send_all(forwarder(log, **over_tls(authority, receiver.port)))
        assert receiver.lines() == []
    assert "unable to get local issuer" in log.behind(SYSLOG).last_error


class Rude:
    """Accepts, reads a part of what comes, and resets the connection; from the third on it reads all."""

    def __init__(self, refusals=2):
        self.got, self._refusals = [], refusals
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                if self._refusals > 0:
                    self._refusals -= 1
                    connection.recv(1000)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    continue
                whole = b""
                while piece := connection.recv(65536):
                    whole += piece
            self.got += unframed(whole)

    def close(self):
        self._server.close()


def unframed(whole):
    """Messages by octet counting, strictly (RFC 5425 section 4.3)."""
    found = []
    while whole:
        length, _, rest = whole.partition(b" ")
        assert length.isdigit()
        assert not length.startswith(b"0")
        assert len(rest) >= int(length)
        found.append(rest[: int(length)])
        whole = rest[int(length) :]
    return found


def test_a_receiver_that_resets_before_it_has_read_all_is_sent_everything_again(site):
    worklist, log = site
    fill(worklist, 50)
    seal_all(log)
    receiver = Rude()
    sender = forwarder(log, syslog=f"tcp://127.0.0.1:{receiver.port}")
    try:
        for _ in range(20):
            sender.step()
            if log.behind(SYSLOG).number == 0:
                break
    finally:
        receiver.close()
    got = [one.decode().split('sequenceId="')[1].split('"')[0] for one in receiver.got]
    assert [int(one) for one in got] == expected(log)
    assert all(one.startswith(b"<8") for one in receiver.got)


def test_messages_go_by_udp_too(site):
    worklist, log = site
    fill(worklist, 5)
    seal_all(log)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        send_all(forwarder(log, syslog=f"udp://127.0.0.1:{receiver.getsockname()[1]}"))
        got = [receiver.recv(65536) for _ in expected(log)]
    assert all(one.startswith(b"<8") and b"<AuditMessage>" in one for one in got)


def test_only_one_process_sends_and_another_goes_on_where_it_ended(site):
    worklist, log = site
    fill(worklist, 30)
    seal_all(log)
    receiver = Rude(refusals=0)
    try:
        first, second = (forwarder(log, syslog=f"tcp://127.0.0.1:{receiver.port}") for _ in range(2))
        send_all(first)
        send_all(second)
        fill(worklist, 30, first=31)
        seal_all(log)
        send_all(second)
        send_all(first)
    finally:
        receiver.close()
    assert len(receiver.got) == len(expected(log))
    assert log.behind(SYSLOG).number == 0


def test_a_record_that_nobody_can_read_any_more_holds_up_none(site):

    worklist, log = site
    fill(worklist, 20)
    seal_all(log)
    wanted = len(expected(log))
    with unguarded(worklist.database.engine) as connection:
        connection.execute(text("UPDATE audit_events SET detail = '[' WHERE id = 3"))
        connection.execute(text("DELETE FROM audit_events WHERE id = 4"))
    receiver = Rude(refusals=0)
    try:
        send_all(forwarder(log, syslog=f"tcp://127.0.0.1:{receiver.port}"))
    finally:
        receiver.close()
    assert log.behind(SYSLOG).number == 0
    assert len(receiver.got) == wanted - 2


def test_a_certificate_that_is_none_is_told_of_at_the_start(site, tmp_path):
    _, log = site
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match="certificate files cannot be used"):
        forwarder(log, syslog="tls://localhost:6514", syslog_ca=tmp_path / "ca.pem")


def test_patients_do_not_go_over_a_network_in_the_clear():
    with pytest.raises(ConfigurationError, match="in the clear"):
        build_settings({"audit": {"syslog": "udp://loghost:514"}}, "test")
    build_settings({"audit": {"syslog": "udp://loghost:514", "patients": "none"}}, "test")
    assert build_settings({"audit": {"syslog": "loghost:6514"}}, "test").audit.syslog_address == (
        "tls",
        "loghost",
        6514,
    )
