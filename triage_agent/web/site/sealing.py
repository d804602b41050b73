"""Secrets that are kept in the database or pass through a browser, sealed by a key that is in neither."""

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from triage_agent.domain.errors import ConfigurationError

_KEY = "web-secrets.key"


class Seal:
    """AES-128-CBC with HMAC-SHA-256 (the Fernet format of the library `cryptography`)."""

    def __init__(self, key: str) -> None:
        """A `key` is any text that is hard to guess, 32 characters or more."""
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def close(self, purpose: str, text: str) -> str:
        """Seal a text; `purpose` must be said again to open it, so that no secret stands in for another."""
        return self._fernet.encrypt(f"{purpose}\n{text}".encode()).decode()

    def open(self, purpose: str, sealed: str, seconds: int | None = None) -> str | None:
        """What was sealed for that purpose, in the last `seconds` where they are given; None where there is none."""
        try:
            said = self._fernet.decrypt(sealed.encode("utf-8", "replace"), ttl=seconds).decode()
        except (InvalidToken, ValueError):
            return None
        meant, _, text = said.partition("\n")
        return text if meant == purpose else None


def own_key(folder: Path) -> str:
    """The key in `folder`, made at the first start; several processes that start at once agree on one.

    Raises:
        ConfigurationError: it cannot be made or read.
    """
    file = folder / _KEY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        key = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise ConfigurationError(
            f"{file}: {why}", remedy="give it back to the user that `serve` runs as, from the backup"
        ) from None
    if not key:
        raise ConfigurationError(f"{file} is empty", remedy="take it from the backup")
    return key


def _make(file: Path) -> None:
    """Whole under its name, or not at all."""
    new = file.with_name(f".{_KEY}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as written:
        written.write(secrets.token_urlsafe(48) + "\n")
        written.flush()
        os.fsync(written.fileno())
    try:
        os.link(new, file)  # fails where another process was first, whose key counts
    except FileExistsError:
        pass
    finally:
        new.unlink()
