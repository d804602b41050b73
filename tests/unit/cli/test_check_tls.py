"""`check` on TLS: one line for each thing that is wrong with it."""

import errno
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.certificates import Authority
from support.listener import listen
from support.ports import free_port

from triage_agent.cli import doctor, messages, ports
from triage_agent.dimse.peers import ourselves
from triage_agent.dimse.tls import TlsKeeper
from triage_agent.settings import Settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


def settings(files, **tls):
    paths = {name: getattr(files, name) for name in ("certificate", "key", "ca")}
    return Settings.model_validate({"dicom": {"port": free_port(), "tls": {**paths, "port": free_port()} | tls}})


def look(which, site):
    return doctor._examine("part", lambda: getattr(ports, which)(site))


def test_a_certificate_that_is_well_is_told_with_its_end(authority):
    found = look("look_at_certificate", settings(authority.files("triage")))
    assert (found.ok, found.warns) == (True, False)
    assert found.says.startswith("CN=triage until 20")
    assert ", CA until 20" in found.says


@pytest.mark.parametrize(("days", "whose"), [(29, "it expires in 28 days"), (1, "it expires in 0 days")])
def test_one_that_expires_soon_is_a_warning_and_no_failure(authority, days, whose):
    found = look("look_at_certificate", settings(authority.files(f"soon{days}", days=days)))
    assert (found.ok, found.warns, found.word) == (True, True, "WARN")
    assert whose in found.says
    assert found.remedy


def test_a_ca_that_expires_soon_is_a_warning(tmp_path):
    found = look("look_at_certificate", settings(Authority(tmp_path / "soon", days=10).files("triage")))
    assert found.word == "WARN"
    assert "the CA expires in 9 days" in found.says


def one_key(files, authority, tmp_path):
    return {"key": authority.issue("other")[1]}


def gone(files, authority, tmp_path):
    return {"certificate": tmp_path / "gone.pem"}


def a_folder(files, authority, tmp_path):
    return {"ca": tmp_path}


def other_ca(files, authority, tmp_path):
    return {"ca": Authority(tmp_path / "other", "Other CA").ca}


def expired(files, authority, tmp_path):
    old = authority.files("old", days=-1)
    return {"certificate": old.certificate, "key": old.key}


def unreadable(files, authority, tmp_path):
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    return {"certificate": broken}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (one_key, "does not fit certificate"),
        (gone, "gone.pem: no such file"),
        (a_folder, "is a directory"),
        (other_ca, "is not verified by ca"),
        (expired, "expired at"),
        (unreadable, "holds no certificate that can be read"),
    ],
)
def test_what_is_wrong_is_one_line_with_a_remedy(authority, tmp_path, wrong, says):
    files = authority.files("triage")
    found = look("look_at_certificate", settings(files, **wrong(files, authority, tmp_path)))
    assert not found.ok
    assert says in found.says
    assert "\n" not in found.says
    assert found.remedy


def test_a_key_that_this_user_may_not_read_is_told(authority, monkeypatch):
    site = settings(authority.files("sealed"))
    # Tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    found = look("look_at_certificate", site)
    assert "sealed.pem: permission denied" in found.says
    assert "the agent's user may read" in found.remedy


def test_the_port_is_looked_at_too_and_is_ours_where_the_agent_runs(authority, tmp_path, monkeypatch):
    files = authority.files("triage", hosts=["triage.hospital"])
    site = settings(files)
    assert "is free" in look("look_at_dicom_tls", site).says
    running = listen(
        tmp_path / "spool",
        own=ourselves("TRIAGE", "127.0.0.1", 0),
        tls=TlsKeeper(files, lambda: datetime.now(UTC)).server,
        tls_port=site.dicom.tls.port,
    )
    try:
        monkeypatch.setattr(ports, "_ANSWER_SECONDS", 60.0)
        assert "TRIAGE runs already" in look("look_at_dicom_tls", site).says
    finally:
        running.server.stop(1)


def test_a_port_that_another_took_names_the_key_that_changes_it(authority, monkeypatch):
    monkeypatch.setattr(ports, "_ANSWER_SECONDS", 0.3)
    site = settings(authority.files("triage"))
    with socket.create_server(("127.0.0.1", site.dicom.tls.port)) as stranger:
        stranger.settimeout(0.1)
        found = look("look_at_dicom_tls", site)
    assert (found.ok, "[dicom.tls] port" in found.remedy) == (False, True)


def parts(site):
    return [part for part, _ in doctor._parts(site)]


def test_the_parts_are_those_that_the_site_has(authority):
    files = authority.files("triage")
    assert {"DICOM port", "TLS certificate", "DICOM TLS port"} <= {*parts(settings(files))}
    only = settings(files).model_copy()
    only = Settings.model_validate({"dicom": {"plain": False, "tls": only.dicom.tls.model_dump()}})
    assert "DICOM port" not in parts(only)
    assert "TLS certificate" not in parts(Settings())


def test_the_command_prints_a_warning_and_ends_well(run, monkeypatch, tmp_path):
    soon = doctor.Finding("TLS certificate", ok=True, says="it expires", remedy="replace it", warns=True)
    monkeypatch.setattr(doctor, "examine", lambda _settings: [soon])
    config = tmp_path / "agent.toml"
    config.write_text("")
    done = run("check", "--config", config)
    assert (done.code, done.out) == (0, "WARN  TLS certificate: it expires; replace it\n")
    assert json.loads(run("check", "--config", config, "--json").out)[0]["warns"] is True


@pytest.mark.parametrize(
    ("days", "begins", "word", "says"),
    [
        (365, -1, "ok  ", "CN=to-ris until 20"),
        (20, -1, "WARN", "it expires in 19 days"),
        (-1, -3, "FAIL", "expired at"),
    ],
)
def test_our_certificate_for_an_hl7_peer_is_looked_at(days, begins, word, says, authority):
    certificate, key = authority.issue("to-ris", days=days, begins=begins)
    found = look_at_hl7(certificate=certificate, key=key, ca=authority.ca)
    assert (found.word, says in found.says) == (word, True)


def test_a_key_that_does_not_fit_is_told_in_the_words_of_its_table(authority):
    certificate, _ = authority.issue("to-ris")
    _, other = authority.issue("other")
    found = look_at_hl7(certificate=certificate, key=other, ca=authority.ca)
    assert found.word == "FAIL"
    assert found.says.startswith("[[hl7.peers]] key ")


def look_at_hl7(**files):
    peer = {"name": "ris", "host": "127.0.0.1", "port": 1, "tls": True, **files}
    ((part, look),) = messages.certificates(Settings.model_validate({"hl7": {"peers": [peer]}}))
    assert part == "TLS certificate for ris"
    return doctor._examine(part, look)
