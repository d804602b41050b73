"""Anchors: the head of the chain, signed and kept elsewhere, so that a chain made anew as a whole is found.

An anchors file has a JSON object a line: position, head, at, key (SHA-256 of the public key), signature (Ed25519 over
the others, as `_signed` frames them).
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from triage_agent.domain.audit_log import Head
from triage_agent.domain.errors import ConfigurationError, TriageError

_LONGEST_LINE = 4096
_CONTEXT = "triage-agent audit anchor 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head of the chain, signed.

    Attributes:
        at: RFC 3339.
        key: which key signed it: SHA-256 of the raw public key.
        signature: base64.
    """

    position: int
    head: str
    at: str
    key: str
    signature: str = ""

    def line(self) -> str:
        """One line of an anchors file."""
        values = {"position": self.position, "head": self.head, "at": self.at, "key": self.key}
        return json.dumps({**values, "signature": self.signature})


def _signed(anchor: Anchor) -> bytes:
    return json.dumps([_CONTEXT, anchor.position, anchor.head, anchor.at, anchor.key]).encode()


class Signer:
    """Signs heads with one key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.fingerprint = _fingerprint(key.public_key())

    def sign(self, head: Head, at: datetime) -> Anchor:
        """An anchor of `head`."""
        bare = Anchor(position=head.position, head=head.head, at=at.astimezone(UTC).isoformat(), key=self.fingerprint)
        signature = base64.b64encode(self._key.sign(_signed(bare))).decode()
        return Anchor(position=bare.position, head=bare.head, at=bare.at, key=bare.key, signature=signature)


def open_signer(path: Path, *, make: bool) -> Signer:
    """The key in a PEM file; with `make` it is made where there is none, with its public half beside it (`.pub`).

    Raises:
        ConfigurationError: it cannot be read or made, or is no Ed25519 key.
    """
    try:
        if make and not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(
            f"[audit] anchor_key {path}: {error.strerror}", remedy="name a file that this user can read"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"[audit] anchor_key {path} is no private key", remedy=_MEND) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"[audit] anchor_key {path} is another kind of key", remedy=_MEND)
    return Signer(key)


_MEND = "make one with `openssl genpkey -algorithm ed25519`"


def _make_key(path: Path) -> None:
    """Never readable for others, not even while it is written; two processes that start at once make one."""
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    made = load_pem_private_key(path.read_bytes(), password=None)
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(path.with_suffix(".pub"), public, 0o644)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(half, path)  # unlike a rename, it does not replace what another made meanwhile
    except FileExistsError:
        pass
    finally:
        half.unlink()


def append(path: Path, anchor: Anchor) -> None:
    """Add a line; on the disk when this returns.

    What a power loss or a full disk left of a line at the end is cut off first: with this it would make one line that
    is no anchor.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        behind = _behind_the_last_line(path, file.tell())
        if behind and not _is_anchor(behind.decode("ascii", "replace")):
            file.truncate(file.tell() - len(behind))
            behind = b""
        file.write((b"\n" if behind else b"") + anchor.line().encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _behind_the_last_line(path: Path, size: int) -> bytes:
    """What stands behind the last line that has an end; at most as much as a line may have."""
    with path.open("rb") as file:
        file.seek(max(0, size - _LONGEST_LINE))
        return file.read().rpartition(b"\n")[2]


def load_public_key(path: Path) -> Ed25519PublicKey:
    """A public key from a PEM file.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", remedy="name a readable file") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} is no public key", remedy="name the .pub file beside the key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} is another kind of key", remedy="name the .pub file beside the key")
    return key


def read_anchors(path: Path, public: Ed25519PublicKey) -> list[Anchor]:
    """The anchors of a file, all of which `public` signed; half a line at its end, which was never kept, is none.

    Raises:
        ConfigurationError: there is no such file.
        TriageError: a line is none, or is signed by another key: it was not the agent that wrote it.
    """
    anchors: list[Anchor] = []
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if not line.endswith("\n") and not _is_anchor(line) and not file.readline(1):
                    break
                if line.strip():
                    anchors.append(_checked(line, public, f"{path}: line {number}"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", remedy="name a readable file") from None
    return anchors


def _checked(line: str, public: Ed25519PublicKey, where: str) -> Anchor:
    anchor = _parsed(line, where)
    try:
        public.verify(base64.b64decode(anchor.signature, validate=True), _signed(anchor))
    except (InvalidSignature, binascii.Error, ValueError):
        raise TriageError(f"{where}: this anchor is not signed by that key", remedy=_COMPARE) from None
    return anchor


def _is_anchor(line: str) -> bool:
    try:
        _parsed(line, "")
    except TriageError:
        return False
    return True


_COMPARE = "compare the file with a copy that was kept elsewhere"


def _parsed(line: str, where: str) -> Anchor:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if isinstance(values, Mapping):
        texts = [values.get(name) for name in ("head", "at", "key", "signature")]
        position = values.get("position")
        if isinstance(position, int) and all(isinstance(one, str) for one in texts):
            head, at, key, signature = map(str, texts)
            return Anchor(position=position, head=head, at=at, key=key, signature=signature)
    raise TriageError(f"{where}: this is no anchor", remedy=_COMPARE)


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
