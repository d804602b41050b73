"""TLS as a site has it: `serve` with certificates that are changed under it, dcmtk on both sides."""

import subprocess

import pytest
from pydicom import dcmread
from support.agent import eventually, free_port
from support.bundles import write_constant_bundle
from support.certificates import Authority
from support.instances import dx, write_part10
from support.programs import require_program
from support.xrays import radiograph

pytestmark = pytest.mark.external


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def tables(authority, certificate, port, peers=""):
    """The configuration of TLS for the agent."""
    return f"""
[dicom.tls]
certificate = "{certificate[0]}"
key = "{certificate[1]}"
ca = "{authority.ca}"
port = {port}
{peers}
"""


PACS = """
[[dicom.peers]]
name = "{name}"
ae_title = "{ae_title}"
host = "localhost"
port = {port}
may = ["store"]
tls = true
certificate_name = "{certificate_name}"
"""


def storescu(authority, certificate, port, file):
    command = [require_program("storescu"), "-aec", "TRIAGE", "-aet", "PACS"]
    tls = ["+tls", str(certificate[1]), str(certificate[0]), "+cf", str(authority.ca)]
    return subprocess.run(
        [*command, *tls, "127.0.0.1", str(port), str(file)], check=False, capture_output=True, text=True, timeout=60
    )


def shown_certificate(port, authority):
    """What the agent shows a caller."""
    command = [require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(authority.ca)]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]


def test_certificates_are_changed_without_a_restart(agent, authority, tmp_path):
    ours, sender, port = authority.issue("triage"), authority.issue("pacs"), free_port()
    file = write_part10(tmp_path / "sent.dcm", dx())
    site = PACS.format(name="pacs", ae_title="PACS", port=104, certificate_name="pacs")
    running = agent(bundle="embedded", role="listener", tables=tables(authority, ours, port, site))
    assert storescu(authority, sender, port, file).returncode == 0
    assert storescu(authority, authority.issue("ct"), port, file).returncode != 0
    assert 'reason="certificate does not carry the calling peer\'s name"} 1.0' in running.get("metrics")[1]

    before = shown_certificate(port, authority)
    authority.issue("triage", days=20)  # over the old files
    assert eventually(lambda: shown_certificate(port, authority) not in {before, ""})
    assert "certificate_expires " in running.log_text
    assert storescu(authority, sender, port, file).returncode == 0

    ours[0].write_text("half a certificate")
    assert eventually(lambda: "triage_certificate_current 0.0" in running.get("metrics")[1])
    assert running.log_text.count("certificate_not_loaded") == 1
    assert storescu(authority, sender, port, file).returncode == 0

    second = shown_certificate(port, authority)
    authority.issue("triage")
    running.hang_up()
    assert eventually(lambda: shown_certificate(port, authority) not in {second, ""})
    assert "triage_certificate_current 1.0" in running.get("metrics")[1]
    assert running.stop() == 0


def test_a_hang_up_does_not_end_an_agent_without_tls(agent, tmp_path):
    running = agent(bundle="embedded", role="listener")
    running.hang_up()
    assert running.ready()
    assert running.stop() == 0


def test_a_study_comes_and_its_report_goes_by_tls(agent, authority, tmp_path):
    kept, pacs_port, port = tmp_path / "kept", free_port(), free_port()
    kept.mkdir()
    certificate = authority.issue("pacs")
    command = [require_program("storescp"), "-aet", "PACS", "-od", str(kept), "--fork"]
    tls = ["+tls", str(certificate[1]), str(certificate[0]), "+cf", str(authority.ca)]
    pacs = subprocess.Popen([*command, *tls, str(pacs_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        site = PACS.format(name="pacs", ae_title="PACS", port=pacs_port, certificate_name="pacs")
        route = '[[routes]]\nto = "pacs"\nsend = ["sr"]\n'
        running = agent(
            bundle=write_constant_bundle(tmp_path / "bundle", bias=2.0),
            tables=tables(authority, authority.issue("triage"), port, site + route),
        )
        data_set = radiograph()
        data_set.save_as(tmp_path / "sent.dcm", enforce_file_format=True)
        sent = storescu(authority, certificate, port, tmp_path / "sent.dcm")
        assert sent.returncode == 0, sent.stderr
        (item,) = running.settled(data_set.StudyInstanceUID)
        assert item["status"] == "delivered", item
        (report,) = kept.iterdir()
        assert dcmread(report).Modality == "SR"
        checked = running.cli("check")
        assert "ok    TLS certificate: CN=triage until" in checked.stdout
        assert f"ok    DICOM TLS port: TRIAGE runs already at 127.0.0.1:{port}" in checked.stdout
        assert "ok    peer pacs" in checked.stdout
    finally:
        pacs.terminate()
        pacs.wait(10)


def test_a_wrong_certificate_is_a_wrong_configuration(agent, authority, tmp_path):
    ours, other = authority.issue("triage"), authority.issue("other")
    running = agent(
        bundle="embedded",
        role="listener",
        start=False,
        tables=tables(authority, (ours[0], other[1]), free_port()),
    )
    running.start(wait=False)
    assert running.wait() == 2
    assert "does not fit certificate" in running.log_text.strip().splitlines()[-1]
    assert "Traceback" not in running.log_text
