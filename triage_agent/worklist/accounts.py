"""Accounts, sessions and one-time links in the worklist's database: each method of the port is one transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.accounts import Account, NewSession, Role, SignedIn, Source
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.sessions import LONGEST_ADDRESS, LONGEST_BROWSER
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.account_rows import AccountRow, LinkRow, SessionRow
from triage_agent.worklist.rows import append_audit
from triage_agent.worklist.transactions import Database, changed
from triage_agent.worklist.vouching import vouch

_SEEN_EVERY = timedelta(minutes=1)  # a page that looks every second writes no row every second


class SqlAccounts:
    """The `Accounts` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accounts(self) -> Sequence[Account]:
        """See `Accounts.accounts`."""
        everybody = select(AccountRow).order_by(AccountRow.name)
        return self._database.read(lambda session: [_account(row) for row in session.scalars(everybody)])

    def account(self, name: str) -> Account | None:
        """See `Accounts.account`."""
        return self._database.read(lambda session: _found(session, name))

    def vouch(self, name: str, subject: str, roles: Collection[Role], now: datetime) -> str | None:
        """See `Accounts.vouch`."""
        return self._database.write(lambda session: vouch(session, name, subject, roles, now))

    def make_account(self, account: Account, actor: str, now: datetime) -> bool:
        """See `Accounts.make_account`."""
        return self._database.write(lambda session: _make(session, account, actor, now))

    def give_roles(self, name: str, roles: Collection[Role], actor: str, now: datetime) -> bool:
        """See `Accounts.give_roles`."""
        words = sorted(role.value for role in roles)
        return self._change(name, {"roles": words}, actor, now, {"change": "roles", "roles": words})

    def disable(self, name: str, actor: str, now: datetime, *, disabled: bool = True) -> bool:
        """See `Accounts.disable`."""
        columns = {"disabled_at": now if disabled else None, "failures": 0, "locked_until": None}
        return self._change(name, columns, actor, now, {"change": "disabled" if disabled else "enabled"}, end=disabled)

    def make_link(self, name: str, digest: str, until: datetime, actor: str, now: datetime) -> bool:
        """See `Accounts.make_link`."""
        return self._database.write(lambda session: _make_link(session, name, digest, until, actor, now))

    def owner_of_link(self, digest: str, now: datetime) -> Account | None:
        """See `Accounts.owner_of_link`."""
        return self._database.read(lambda session: _owner(session, digest, now))

    def use_link(self, digest: str, password_hash: str, now: datetime) -> bool:
        """See `Accounts.use_link`."""
        return self._database.write(lambda session: _use_link(session, digest, password_hash, now))

    def change_password(self, name: str, password_hash: str, now: datetime) -> bool:
        """See `Accounts.change_password`."""
        return self._database.write(lambda session: _set_password(session, name, password_hash, now))

    def hash_anew(self, name: str, old: str, new: str, now: datetime) -> bool:
        """See `Accounts.hash_anew`."""
        return self._database.write(lambda session: _hash_anew(session, name, old, new, now))

    def sign_in_refused(self, name: str, address: str, why: str, now: datetime, locked_until: datetime | None) -> None:
        """See `Accounts.sign_in_refused`."""
        self._database.write(lambda session: _refused(session, name, address, why, now, locked_until))

    def begin_session(self, name: str, session: NewSession, address: str, now: datetime) -> bool:
        """See `Accounts.begin_session`."""
        return self._database.write(lambda within: _begin(within, name, session, address, now))

    def signed_in(self, digest: str, now: datetime, idle_since: datetime, *, used: bool = True) -> SignedIn | None:
        """See `Accounts.signed_in`."""
        found = self._database.read(lambda session: _signed_in(session, digest, now, idle_since))
        if found is None:
            return None
        signed_in, seen_at = found
        if used and now - seen_at >= _SEEN_EVERY:
            seen = update(SessionRow).where(SessionRow.digest == digest).values(seen_at=now)
            self._database.write(lambda session: session.execute(seen))
        return signed_in

    def end_session(self, digest: str, now: datetime) -> None:
        """See `Accounts.end_session`."""
        self._database.write(lambda session: _end(session, digest, now))

    def _change(
        self,
        name: str,
        columns: dict[str, Any],
        actor: str,
        now: datetime,
        detail: dict[str, object],
        *,
        end: bool = False,
    ) -> bool:
        def change(session: Session) -> bool:
            if not changed(session, update(AccountRow).where(AccountRow.name == name).values(**columns)):
                return False
            if end:
                _end_all(session, name, now)
            append_audit(session, _event(AuditAction.ACCOUNT_CHANGED, actor, now, account=name, **detail))
            return True

        return self._database.write(change)


def _event(action: AuditAction, actor: str, at: datetime, **detail: object) -> AuditEvent:
    return AuditEvent(at=at, action=action, actor=actor, detail=detail)


def _account(row: AccountRow) -> Account:
    return Account(
        name=row.name,
        roles=frozenset(Role(word) for word in row.roles),
        source=row.source,
        password_hash=row.password_hash,
        must_change=row.must_change,
        totp_secret=row.totp_secret,
        failures=row.failures,
        locked_until=row.locked_until,
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
    )


def _found(session: Session, name: str) -> Account | None:
    row = session.get(AccountRow, name)
    return None if row is None else _account(row)


def _make(session: Session, account: Account, actor: str, now: datetime) -> bool:
    if session.get(AccountRow, account.name) is not None:
        return False
    roles = sorted(role.value for role in account.roles)
    values = {
        "name": account.name,
        "roles": roles,
        "source": account.source,
        "password_hash": account.password_hash,
        "must_change": account.must_change,
        "totp_secret": account.totp_secret,
        "failures": 0,
        "created_at": now,
    }
    session.execute(insert(AccountRow).values(values))
    append_audit(
        session,
        _event(AuditAction.ACCOUNT_CHANGED, actor, now, account=account.name, change="made", roles=roles),
    )
    return True


def _make_link(session: Session, name: str, digest: str, until: datetime, actor: str, now: datetime) -> bool:
    account = _found(session, name)
    if account is None or account.disabled_at is not None or account.source is not Source.LOCAL:
        return False
    session.execute(_unused_links(name).values(used_at=now))
    session.execute(insert(LinkRow).values(digest=digest, account=name, made_at=now, until=until))
    append_audit(session, _event(AuditAction.ACCOUNT_CHANGED, actor, now, account=name, change="link"))
    return True


def _unused_links(name: str) -> Any:
    return update(LinkRow).where(LinkRow.account == name, LinkRow.used_at.is_(None))


def _owner(session: Session, digest: str, now: datetime) -> Account | None:
    link = session.get(LinkRow, digest)
    if link is None or link.used_at is not None or link.until <= now:
        return None
    owner = _found(session, link.account)
    return owner if owner is not None and owner.disabled_at is None else None


def _use_link(session: Session, digest: str, password_hash: str, now: datetime) -> bool:
    owner = _owner(session, digest, now)
    use = update(LinkRow).where(LinkRow.digest == digest, LinkRow.used_at.is_(None)).values(used_at=now)
    return owner is not None and changed(session, use) == 1 and _set_password(session, owner.name, password_hash, now)


def _set_password(session: Session, name: str, password_hash: str, now: datetime) -> bool:
    values = {"password_hash": password_hash, "must_change": False, "failures": 0, "locked_until": None}
    local = update(AccountRow).where(AccountRow.name == name, AccountRow.source == Source.LOCAL)
    if not changed(session, local.values(**values)):
        return False
    _end_all(session, name, now)
    append_audit(session, _event(AuditAction.ACCOUNT_CHANGED, name, now, account=name, change="password"))
    return True


def _hash_anew(session: Session, name: str, old: str, new: str, now: datetime) -> bool:
    same = update(AccountRow).where(AccountRow.name == name, AccountRow.password_hash == old)
    if not changed(session, same.values(password_hash=new)):
        return False
    detail = {"account": name, "change": "password hashed anew"}
    append_audit(session, _event(AuditAction.ACCOUNT_CHANGED, name, now, **detail))
    return True


def _refused(session: Session, name: str, address: str, why: str, now: datetime, locked_until: datetime | None) -> None:
    counted = update(AccountRow).where(AccountRow.name == name)
    known = changed(session, counted.values(failures=AccountRow.failures + 1, locked_until=locked_until)) == 1
    detail: dict[str, object] = {"address": address, "reason": why, "known": known}
    if locked_until is not None and known:
        detail["locked_until"] = locked_until.isoformat()
    # What was typed in place of a name may be a password: it is kept only where it is a name that we know.
    append_audit(session, _event(AuditAction.SIGN_IN_REFUSED, name if known else "unknown", now, **detail))


def _begin(session: Session, name: str, new: NewSession, address: str, now: datetime) -> bool:
    usable = update(AccountRow).where(AccountRow.name == name, AccountRow.disabled_at.is_(None))
    # Who has a password alone must not begin anew to guess codes: wrong ones are counted until a right one.
    values: dict[str, Any] = {"failures": 0, "locked_until": None, "signed_in_at": now}
    if new.waits:
        values = {"name": name}
    if not changed(session, usable.values(**values)):
        return False
    session.execute(
        insert(SessionRow).values(
            digest=new.digest,
            account=name,
            csrf=new.csrf,
            strong=new.strong,
            began_at=now,
            seen_at=now,
            ends_at=new.ends_at,
            address=address[:LONGEST_ADDRESS],
            browser=new.browser[:LONGEST_BROWSER],
        )
    )
    if new.replaces:
        session.execute(update(SessionRow).where(SessionRow.digest == new.replaces).values(ended_at=now))
    if not new.waits:
        append_audit(session, _event(AuditAction.SIGNED_IN, name, now, address=address, strong=new.strong))
    return True


def _signed_in(session: Session, digest: str, now: datetime, idle_since: datetime) -> tuple[SignedIn, datetime] | None:
    row = session.get(SessionRow, digest)
    if row is None or row.ended_at is not None or row.ends_at <= now or row.seen_at <= idle_since:
        return None
    account = _found(session, row.account)
    if account is None or account.disabled_at is not None:
        return None
    going_on = SignedIn(account=account, csrf=row.csrf, began_at=row.began_at, ends_at=row.ends_at, strong=row.strong)
    return going_on, row.seen_at


def _end(session: Session, digest: str, now: datetime) -> None:
    row = session.get(SessionRow, digest)
    if row is None or row.ended_at is not None:
        return
    session.execute(update(SessionRow).where(SessionRow.digest == digest).values(ended_at=now))
    append_audit(session, _event(AuditAction.SIGNED_OUT, row.account, now))


def _end_all(session: Session, name: str, now: datetime) -> None:
    open_ones = update(SessionRow).where(SessionRow.account == name, SessionRow.ended_at.is_(None))
    session.execute(open_ones.values(ended_at=now))
    session.execute(_unused_links(name).values(used_at=now))
