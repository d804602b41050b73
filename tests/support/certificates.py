"""Certificates made for a test: a CA, and what it signs."""

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from triage_agent.dimse.certificates import TlsFiles

DAY = timedelta(days=1)


def _named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def write_key(path, key, password=None):
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return path


class Authority:
    """A CA in a folder; signs keys for whoever asks."""

    def __init__(self, folder, name="Hospital CA", days=365):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(self.name, self._key, days=days, is_ca=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(
        self, name, *, hosts=("localhost", "127.0.0.1"), days=365, password=None, file=None, purposes=(), begins=-1
    ):
        """Write `file`.pem and `file`.key for `name`; returns their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_named(name), key, days=days, hosts=hosts, purposes=purposes, begins=begins)
        path = self.folder / f"{file or name}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path, write_key(path.with_suffix(".key"), key, password)

    def files(self, name, **options):
        """What the agent is told of a certificate that this CA signed."""
        certificate, key = self.issue(name, **options)
        return TlsFiles(certificate=certificate, key=key, ca=self.ca, key_password=options.get("password"))

    def _sign(self, subject, key, *, days, hosts=(), is_ca=False, purposes=(), begins=-1):
        ends = datetime.now(UTC) + days * DAY
        building = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(ends, datetime.now(UTC)) + begins * DAY)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if hosts:
            building = building.add_extension(
                x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False
            )
        if purposes:
            building = building.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return building.sign(self._key, hashes.SHA256())


def _host(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
