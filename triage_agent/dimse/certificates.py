"""Certificates, keys and CAs as PEM files: what they say, until when, and whether they fit together (RFC 5280)."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from triage_agent.domain.errors import ConfigurationError

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where our certificate, its key and the CAs that we trust lie; all of them PEM.

    Attributes:
        certificate: ours, followed by what lies between it and its CA.
        ca: certificates of those who sign our peers' certificates, and ours.
        key_password: of an encrypted key.
        require_client_certificate: whether who calls us must have a certificate.
    """

    certificate: Path
    key: Path
    ca: Path
    key_password: str | None = field(default=None, repr=False)
    require_client_certificate: bool = True

    def stamp(self) -> Stamp:
        """What tells a changed file: another one by the same name (inode), or another time or size."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.ca))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the files say.

    Attributes:
        subject: our certificate's, as RFC 4514 writes it.
        expires: when the first of our certificate and what lies between it and its CA does.
        ca_expires: when the first of the CAs does that have not yet; the last of them where all have.
    """

    subject: str
    expires: datetime
    ca_expires: datetime


def read_identity(files: TlsFiles, now: datetime) -> Identity:
    """Read all three files.

    Raises:
        ConfigurationError: one is missing, unreadable or of another kind, or the key does not fit the certificate.
    """
    chain = _certificates(files.certificate, "certificate")
    key = _key(files)
    if _spki(key.public_key()) != _spki(chain[0].public_key()):
        raise ConfigurationError(
            f"[dicom.tls] key {files.key} does not fit certificate {files.certificate}",
            remedy="give the key that the certificate was made for; our own certificate stands first in its file",
        )
    ends = sorted(one.not_valid_after_utc for one in _certificates(files.ca, "ca"))
    return Identity(
        subject=chain[0].subject.rfc4514_string(),
        expires=min(one.not_valid_after_utc for one in chain),
        ca_expires=next((end for end in ends if end > now), ends[-1]),
    )


def names_in(der: bytes) -> frozenset[str]:
    """Whom a certificate names, in lower case: its dNSNames, and its subject's CN."""
    certificate = x509.load_der_x509_certificate(der)
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        names += alternatives.get_values_for_type(x509.DNSName)
    return frozenset(name.lower() for name in names)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _content(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"[dicom.tls] {key} {path}: {(error.strerror or type(error).__name__).lower()}",
            remedy="name a file that the agent's user may read",
        ) from None


def _certificates(path: Path, key: str) -> list[x509.Certificate]:
    content = _content(path, key)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigurationError(
            f"[dicom.tls] {key} {path} holds no certificate that can be read", remedy="give certificates in PEM"
        ) from None


def _key(files: TlsFiles) -> PrivateKeyTypes:
    content = _content(files.key, "key")
    encrypted = b"ENCRYPTED" in content
    password = files.key_password.encode() if encrypted and files.key_password is not None else None
    try:
        return load_pem_private_key(content, password)
    except TypeError:
        problem, remedy = "is encrypted", "give [dicom.tls] key_password or key_password_file"
    except (ValueError, UnsupportedAlgorithm):
        problem, remedy = "holds no private key that can be read", "give it in PEM, and its key_password"
    raise ConfigurationError(f"[dicom.tls] key {files.key} {problem}", remedy=remedy)


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
