"""Who may use the pages: accounts, their roles, and the port that keeps them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What somebody is to the site; an account may have several."""

    RADIOLOGIST = "radiologist"
    ADMIN = "admin"
    AUDITOR = "auditor"
    SERVICE = "service"  # a program, by a token


class Source(StrEnum):
    """Who vouches for somebody."""

    LOCAL = "local"  # a password of ours
    OIDC = "oidc"  # the site's identity provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may sign in.

    Attributes:
        name: lower case; what the audit trail calls them.
        password_hash: argon2id, encoded; None until the first password is chosen, and of those whom OIDC vouches for.
        totp_secret: sealed; None until a second factor is set up.
        locked_until: nobody can sign in before, after too many wrong passwords.
    """

    name: str
    roles: frozenset[Role]
    source: Source = Source.LOCAL
    password_hash: str | None = field(default=None, repr=False)
    must_change: bool = False
    totp_secret: str | None = field(default=None, repr=False)
    failures: int = 0
    locked_until: datetime | None = None
    disabled_at: datetime | None = None
    created_at: datetime | None = None
    signed_in_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that begins.

    Attributes:
        digest: SHA-256 of the cookie's value, hexadecimal; the value itself is kept nowhere.
        csrf: what every form of the session must say.
        strong: a second factor was given.
        waits: for the second factor: nobody has signed in yet.
        replaces: the digest of the session that waited, which ends with this one's beginning.
        browser: in words.
    """

    digest: str = field(repr=False)
    csrf: str = field(repr=False)
    ends_at: datetime
    strong: bool = False
    waits: bool = False
    replaces: str = field(default="", repr=False)
    browser: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that goes on, and whose it is."""

    account: Account
    csrf: str = field(repr=False)
    began_at: datetime
    ends_at: datetime
    strong: bool = False


class Accounts(Protocol):
    """Keeps accounts, sessions and one-time links; each change and its audit event are one transaction.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def accounts(self) -> Sequence[Account]:
        """All, by name."""

    def vouch(self, name: str, subject: str, roles: Collection[Role], now: datetime) -> str | None:
        """Make or update the account of somebody whom the identity provider vouches for, and say what it is called.

        `subject` is a digest of what the provider knows them by; a name that changed there keeps its account here. None
        where they have no role, which ends the sessions that they have, or where the name is somebody else's.
        """

    def account(self, name: str) -> Account | None:
        """The one of that name."""

    def make_account(self, account: Account, actor: str, now: datetime) -> bool:
        """Add one; False where the name is taken."""

    def give_roles(self, name: str, roles: Collection[Role], actor: str, now: datetime) -> bool:
        """Change what somebody may do, from the next request on; False where there is no such account."""

    def disable(self, name: str, actor: str, now: datetime, *, disabled: bool = True) -> bool:
        """Let somebody in no more, and end their sessions; or let them in again."""

    def make_link(self, name: str, digest: str, until: datetime, actor: str, now: datetime) -> bool:
        """A link that lets somebody choose a password once; the account's older links end."""

    def owner_of_link(self, digest: str, now: datetime) -> Account | None:
        """Whose link it is, while it can be used."""

    def use_link(self, digest: str, password_hash: str, now: datetime) -> bool:
        """Take the password that was chosen; False where the link was used already, or its time is over."""

    def change_password(self, name: str, password_hash: str, now: datetime) -> bool:
        """By its owner; ends every session of the account."""

    def hash_anew(self, name: str, old: str, new: str, now: datetime) -> bool:
        """The same password, hashed otherwise: its sessions go on; False where it was changed meanwhile."""

    def sign_in_refused(self, name: str, address: str, why: str, now: datetime, locked_until: datetime | None) -> None:
        """Audit it, and count it where there is such an account."""

    def begin_session(self, name: str, session: NewSession, address: str, now: datetime) -> bool:
        """Sign somebody in; False where the account has been disabled meanwhile."""

    def signed_in(self, digest: str, now: datetime, idle_since: datetime, *, used: bool = True) -> SignedIn | None:
        """The session of a cookie, unless it ended, was not used since `idle_since`, or its account is disabled.

        `used`: a person asks; a page that looks for news by itself does not keep a session alive.
        """

    def end_session(self, digest: str, now: datetime) -> None:
        """Sign out."""
