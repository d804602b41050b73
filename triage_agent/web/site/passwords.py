"""Passwords: argon2id (RFC 9106)."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE = 2  # each takes 64 MiB: strangers who knock must not take the machine


class Passwords:
    """Hashes and compares; both take some 50 ms of one core, on purpose."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()  # the library follows RFC 9106's second recommended option
        self._places = threading.Semaphore(_AT_ONCE)
        self._nobodys = self._hasher.hash("nobody has this one")

    def digest(self, password: str) -> str:
        """The encoded hash, with its salt."""
        with self._places:
            return self._hasher.hash(password)

    def fits(self, password: str, digest: str | None) -> bool:
        """Whether it is the password; takes the same time where there is none, so that no name can be guessed."""
        with self._places:
            try:
                self._hasher.verify(digest or self._nobodys, password)
            except (VerificationError, InvalidHashError):
                return False
        return digest is not None

    def is_outdated(self, digest: str) -> bool:
        """Whether it was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(digest)
