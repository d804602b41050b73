"""The port that keeps what proves a second time who somebody is."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol


class SecondFactors(Protocol):
    """Keeps sealed TOTP secrets (RFC 6238) and recovery codes; each change and its audit event are one transaction.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def set_up(self, name: str, sealed: str, step: int, recovery: Collection[str], now: datetime) -> bool:
        """Keep a secret, the step of the code that proved it, and digests of new recovery codes.

        False where the account has a secret already: whoever has its password alone cannot replace it.
        """

    def take_step(self, name: str, step: int) -> bool:
        """Use up the code of a step, and of every step before; False where it was used already."""

    def take_recovery(self, name: str, digest: str, now: datetime) -> bool:
        """Use up a recovery code; False where it is none of the account's, or was used already."""

    def recovery_left(self, name: str) -> int:
        """How many recovery codes are unused."""

    def reset(self, name: str, actor: str, now: datetime) -> bool:
        """Forget secret and recovery codes, and end the account's sessions; False where there is nothing to forget."""
