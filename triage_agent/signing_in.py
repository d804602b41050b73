"""Wires the pages from the settings, and makes the first account."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin

import structlog

from triage_agent import __version__
from triage_agent.audit_parts import build_audit_parts
from triage_agent.builders import build_loader
from triage_agent.domain.accounts import Accounts
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.settings import Settings
from triage_agent.web.site.people import make_first_admin
from triage_agent.web.site.site import Site, SiteSettings

log = structlog.get_logger(__name__)

_FIRST_LINK = "first-sign-in"


def build_accounts(worklist: Worklist) -> Accounts:
    """The accounts in the worklist's database."""
    from triage_agent.worklist import SqlAccounts, database_of

    return SqlAccounts(database_of(worklist))


def build_site(
    settings: Settings, worklist: Worklist, clock: Clock, actor: str
) -> tuple[Site, Callable[[], None]] | None:
    """The pages, and what ends what they use; None where the site does not want them.

    The first start makes one admin, without a password.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if not settings.web.pages:
        return None
    from triage_agent.web.site.images import Radiographs
    from triage_agent.worklist import SqlReadingList, database_of

    database = database_of(worklist)
    accounts = build_accounts(worklist)
    if (secret := make_first_admin(accounts, actor, clock())) is not None:
        file = settings.data_dir / _FIRST_LINK
        write_link(file, link_to(settings, secret))
        log.info("first_account_made", account="admin", link_in=str(file))  # the link itself goes into no log
    decoders = build_loader(settings)  # its process starts with the first image that somebody looks at
    site = Site(
        _shown(settings),
        worklist,
        accounts,
        build_audit_parts(settings, worklist),
        SqlReadingList(database),
        Radiographs(decoders, settings.data_dir / "spool"),
        clock,
        __version__,
    )

    def close() -> None:
        site.verifier.close()
        decoders.close()

    return site, close


def _shown(settings: Settings) -> SiteSettings:
    web = settings.web
    return SiteSettings(
        institution=settings.institution,
        secure=web.is_secure,
        idle=timedelta(minutes=web.idle_minutes),
        longest=timedelta(hours=web.session_hours),
        pacs_link=web.pacs_link,
    )


def link_to(settings: Settings, secret: str) -> str:
    """Where a one-time link leads."""
    web = settings.web
    host = f"[{web.host}]" if ":" in web.host else web.host
    base = web.public_url or f"{'https' if web.tls else 'http'}://{host}:{web.port}"
    return urljoin(base.rstrip("/") + "/", f"first/{secret}")


def write_link(file: Path, link: str) -> None:
    """Keep a link where only our own user reads it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(link + "\n")
