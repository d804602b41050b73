"""Signing in: passwords, lock-out, sessions and one-time links. Knows no HTTP."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from triage_agent.domain.accounts import Account, Accounts, NewSession, Role, SignedIn, Source
from triage_agent.domain.ports import Clock
from triage_agent.web.site.passwords import Passwords
from triage_agent.web.site.second import SecondFactor
from triage_agent.web.site.weakness import PasswordRules

FIRST_ADMIN = "admin"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_NO_LINK = "This link has been used, or its time is over. Ask an admin for a new one."
_TRIES = 5  # wrong passwords until the first pause
_FIRST_PAUSE = timedelta(minutes=1)  # doubled with each further one
_LONGEST_PAUSE = timedelta(minutes=15)
_LINK_LASTS = timedelta(hours=24)
_HALF_LASTS = timedelta(minutes=10)  # between the password and the second factor


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRule:
    """How long a session lasts: unused, and at all."""

    idle: timedelta = timedelta(minutes=60)
    longest: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A session that has begun: what the browser keeps."""

    token: str
    lasts: timedelta


class People:
    """Who is who."""

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        rule: SessionRule,
        passwords: Passwords | None = None,
        second: SecondFactor | None = None,
        rules: PasswordRules | None = None,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._rule = rule
        self._passwords = passwords or Passwords()
        self._second = second
        self._rules = rules or PasswordRules()

    def sign_in(self, name: str, password: str, address: str, browser: str = "") -> Begun | None:
        """Begin a session, if need be one that waits for the second factor; None whatever is wrong.

        A stranger must not learn which.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        name, now = name.strip().lower(), self._clock()
        account = self._accounts.account(name) if is_name(name) else None
        usable = account is not None and account.source is Source.LOCAL and account.disabled_at is None
        locked = account is not None and _is_locked(account, now)
        right = self._passwords.fits(password, account.password_hash if account is not None and usable else None)
        if account is None or not right or locked:
            self._refuse(account, name, address, "locked" if locked else "wrong name or password", now)
            return None
        self._hash_anew(account, password)
        return self.begin(account.name, address, browser, waits=self.asks_twice(account))

    def begin(
        self,
        name: str,
        address: str,
        browser: str = "",
        *,
        strong: bool = False,
        waits: bool = False,
        replaces: str = "",
    ) -> Begun | None:
        """Begin a session of somebody who has proved who it is; None where the account has been disabled.

        `browser` is said in words; `replaces` is the cookie of a session that ends with it.
        """
        now, token = self._clock(), secrets.token_urlsafe(32)
        lasts = _HALF_LASTS if waits else self._rule.longest
        new = NewSession(
            digest=digest_of(token),
            csrf=secrets.token_urlsafe(32),
            ends_at=now + lasts,
            strong=strong,
            waits=waits,
            replaces=digest_of(replaces) if replaces else "",
            browser=browser,
        )
        return Begun(token=token, lasts=lasts) if self._accounts.begin_session(name, new, address, now) else None

    def waits(self, session: SignedIn) -> bool:
        """Whether a session lacks the second factor that its account must give."""
        return self._second is not None and self._second.waits(session)

    def asks_twice(self, account: Account) -> bool:
        """Whether the account signs in with a second factor."""
        return self._second is not None and self._second.is_asked_of(account)

    def recovery_left(self, account: Account) -> int:
        """How many recovery codes of the account are unused.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        return self._second.recovery_left(account) if self._second is not None else 0

    def idle_since(self, now: datetime) -> datetime:
        """A session that was not used since has ended."""
        return now - self._rule.idle

    def prove(self, session: SignedIn, code: str, token: str, address: str, browser: str = "") -> Begun | None:
        """Go on with the second factor in a new session; None where the code is wrong, or there were too many."""
        account, now = session.account, self._clock()
        locked = _is_locked(account, now)
        if locked or self._second is None or not self._second.fits(account, code):
            self._refuse(account, account.name, address, "locked" if locked else "wrong second factor", now)
            return None
        return self.begin(account.name, address, browser, strong=True, replaces=token)

    def set_up(
        self, session: SignedIn, sealed: str, code: str, token: str, address: str, browser: str = ""
    ) -> tuple[tuple[str, ...], Begun | None] | None:
        """Take the second factor that was offered: recovery codes and a new session; None where the code is wrong."""
        account = session.account
        codes = None if self._second is None else self._second.accept(account, sealed, code)
        if codes is None:
            self._refuse(account, account.name, address, "wrong second factor", self._clock())
            return None
        return codes, self.begin(account.name, address, browser, strong=True, replaces=token)

    def of(self, token: str, *, used: bool = True) -> SignedIn | None:
        """The session of a cookie's value, while it goes on; `used` by a person, not by a page that asks by itself."""
        now = self._clock()
        return self._accounts.signed_in(digest_of(token), now, self.idle_since(now), used=used) if token else None

    def sign_out(self, token: str) -> None:
        """End the session."""
        self._accounts.end_session(digest_of(token), self._clock())

    def owner_of_link(self, secret: str) -> Account | None:
        """Whose link this is, while it can be used."""
        return self._accounts.owner_of_link(digest_of(secret), self._clock())

    def use_link(self, secret: str, password: str) -> str | None:
        """Take the password that a link's owner has chosen; why it cannot be taken, else None."""
        owner = self.owner_of_link(secret)
        if owner is None:
            return _NO_LINK
        if (why := self._rules.weakness(password, owner.name)) is not None:
            return why
        used = self._accounts.use_link(digest_of(secret), self._passwords.digest(password), self._clock())
        return None if used else _NO_LINK

    def change_password(self, account: Account, old: str, new: str, address: str) -> str | None:
        """Change one's own password; why it cannot be changed, else None.

        Wrong old ones count as refused sign-ins: whoever finds an open session must not guess there without a pause.
        """
        now = self._clock()
        locked = _is_locked(account, now)
        if not self._passwords.fits(old, account.password_hash) or locked:
            self._refuse(account, account.name, address, "locked" if locked else "wrong old password", now)
            return "The old password is wrong. If it is right, there were too many tries: wait a minute."
        if (why := self._rules.weakness(new, account.name)) is not None:
            return why
        self._accounts.change_password(account.name, self._passwords.digest(new), now)
        return None

    def _hash_anew(self, account: Account, password: str) -> None:
        """A hash that was made with weaker parameters than today's: only at a sign-in is the password here."""
        if account.password_hash is not None and self._passwords.is_outdated(account.password_hash):
            new = self._passwords.digest(password)
            self._accounts.hash_anew(account.name, account.password_hash, new, self._clock())

    def _refuse(self, account: Account | None, name: str, address: str, why: str, now: datetime) -> None:
        until = None if account is None else account.locked_until
        if account is not None and not _is_locked(account, now):
            until = _pause_after(account.failures + 1, now)
        self._accounts.sign_in_refused(name if account else "", address, why, now, until)


def make_link(accounts: Accounts, name: str, actor: str, now: datetime) -> str | None:
    """The secret part of a new link by which `name` chooses a password once; None where there is no such account."""
    secret = secrets.token_urlsafe(32)
    return secret if accounts.make_link(name, digest_of(secret), now + _LINK_LASTS, actor, now) else None


def make_first_admin(accounts: Accounts, actor: str, now: datetime) -> str | None:
    """On the very first start: an admin without a password, and the secret part of the link; None later on."""
    if accounts.accounts():
        return None
    first = Account(name=FIRST_ADMIN, roles=frozenset({Role.ADMIN, Role.AUDITOR}), must_change=True)
    return make_link(accounts, FIRST_ADMIN, actor, now) if accounts.make_account(first, actor, now) else None


def is_name(text: str) -> bool:
    """Whether an account may be called so."""
    return _NAME.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """What is kept of a secret that has 256 bits of its own, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _is_locked(account: Account, now: datetime) -> bool:
    return account.locked_until is not None and account.locked_until > now


def _pause_after(failures: int, now: datetime) -> datetime | None:
    if failures < _TRIES:
        return None
    doubled: timedelta = _FIRST_PAUSE * 2 ** min(failures - _TRIES, 10)
    return now + min(doubled, _LONGEST_PAUSE)
