"""Whoever brings two things that belong together takes turns, since neither sees what the other has not committed."""

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def take_turns(session: Session, names: Iterable[str]) -> None:
    """Hold these numbers of orders, studies and patients until the transaction ends; SQLite has one writer anyway.

    To be taken before any row is locked, see `meeting`.
    """
    if not takes_turns(session):
        return
    numbers = sorted({_number(name) for name in names if name})  # one order for all, so that nobody waits in a circle
    if numbers:
        session.execute(select(*[func.pg_advisory_xact_lock(number) for number in numbers]))


def takes_turns(session: Session) -> bool:
    """Whether there is anybody to wait for."""
    return session.get_bind().dialect.name == "postgresql"


def _number(name: str) -> int:
    """A name as Postgres locks have it, 64 bits with a sign; two that share a number only wait for each other."""
    return int.from_bytes(sha256(name.encode("utf-8", "replace")).digest()[:8], signed=True)
