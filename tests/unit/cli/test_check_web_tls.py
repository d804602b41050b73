"""`check` on the certificate of the pages: one line, which names the file that is wrong."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support.certificates import Authority, write_key

from triage_agent.cli import doctor, ports
from triage_agent.settings import Settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


def look(files, **other):
    tls = {"certificate": files.certificate, "key": files.key} | other
    site = Settings.model_validate({"web": {"tls": tls}})
    return doctor._examine("web certificate", lambda: ports.look_at_web_certificate(site))


def test_the_line_is_there_where_the_pages_have_a_certificate_and_comes_before_their_port(authority):
    files = authority.files("web")
    site = Settings.model_validate({"web": {"tls": {"certificate": files.certificate, "key": files.key}}})
    parts = [part for part, _ in doctor._parts(site)]
    assert parts[parts.index("web certificate") + 1] == "web port"
    assert "web certificate" not in [part for part, _ in doctor._parts(Settings())]


def test_a_certificate_that_is_well_is_told_with_its_end_and_with_that_of_callers_ca(authority):
    found = look(authority.files("web"))
    assert (found.word, found.says.startswith("CN=web until 20"), "CA" in found.says) == ("ok  ", True, False)
    found = look(authority.files("web"), ca=authority.ca)
    assert (found.word, ", CA until 20" in found.says) == ("ok  ", True)


def test_callers_may_be_certified_by_another_ca_than_ours(authority, tmp_path):
    assert look(authority.files("web"), ca=Authority(tmp_path / "other", "Callers").ca).word == "ok  "


@pytest.mark.parametrize(("days", "whose"), [(29, "it expires in 28 days"), (1, "it expires in 0 days")])
def test_one_that_expires_soon_is_a_warning(authority, days, whose):
    found = look(authority.files(f"soon{days}", days=days))
    assert (found.word, whose in found.says, bool(found.remedy)) == ("WARN", True, True)


def test_a_ca_of_callers_that_expires_soon_is_a_warning(authority, tmp_path):
    found = look(authority.files("web"), ca=Authority(tmp_path / "soon", days=10).ca)
    assert (found.word, "the CA expires in 9 days" in found.says) == ("WARN", True)


def gone(authority, folder):
    return {"certificate": folder / "web.pem"}, "web.pem: no such file"


def no_key(authority, folder):
    return {"key": folder / "web.key"}, "web.key: no such file"


def another_key(authority, folder):
    return {"key": authority.issue("other")[1]}, "other.key does not fit certificate"


def encrypted(authority, folder):
    certificate, key = authority.issue("sealed", password="secret")  # noqa: S106
    return {"certificate": certificate, "key": key}, "sealed.key is encrypted"


def expired(authority, folder):
    certificate, key = authority.issue("old", days=-1)
    return {"certificate": certificate, "key": key}, "old.pem expired at"


def a_folder(authority, folder):
    return {"ca": folder}, "is a directory"


def no_certificate(authority, folder):
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    return {"ca": folder / "ca.pem"}, "ca.pem holds no certificate that can be read"


def ended_ca(authority, folder):
    return {"ca": Authority(folder / "ended", days=-1).ca}, "ca.pem expired at"


def too_short(authority, folder):
    """A pair that belongs together, and that OpenSSL does not take."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "short")])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=90))
    file = folder / "short.pem"
    file.write_bytes(certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return {"certificate": file, "key": write_key(folder / "short.key", key)}, "short.pem: "


@pytest.mark.parametrize(
    "wrong", [gone, no_key, another_key, encrypted, expired, a_folder, no_certificate, ended_ca, too_short]
)
def test_what_is_wrong_is_one_line_that_names_the_file_and_has_a_remedy(authority, tmp_path, wrong):
    other, says = wrong(authority, tmp_path)
    found = look(authority.files("web"), **other)
    assert (found.word, says in found.says) == ("FAIL", True), found.says
    assert "\n" not in found.says
    assert "[dicom.tls]" not in found.says + found.remedy
    assert found.remedy
