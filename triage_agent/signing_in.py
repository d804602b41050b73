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
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.second_factor import SecondFactors
from triage_agent.ops.gauges import Disk
from triage_agent.settings import Settings
from triage_agent.spooling import reading, spool_folder
from triage_agent.web.access import Access, Caller
from triage_agent.web.site.entrance import Entrance
from triage_agent.web.site.people import make_first_admin
from triage_agent.web.site.provider import NotVouchedError, Provider, ProviderSettings
from triage_agent.web.site.sealing import Seal, own_key
from triage_agent.web.site.second import SecondFactor, SecondSettings
from triage_agent.web.site.site import Site, SiteSettings
from triage_agent.web.site.weakness import trouble_with_list
from triage_agent.worker import Loop

log = structlog.get_logger(__name__)

_FIRST_LINK = "first-sign-in"
_LOOK_SECONDS = 10.0  # between two looks at whether readers have to be told of something


def build_accounts(worklist: Worklist) -> Accounts:
    """The accounts in the worklist's database."""
    from triage_agent.worklist import SqlAccounts, database_of

    return SqlAccounts(database_of(worklist))


def build_second_factors(worklist: Worklist) -> SecondFactors:
    """What proves a second time who somebody is, in the worklist's database."""
    from triage_agent.worklist import SqlSecondFactors, database_of

    return SqlSecondFactors(database_of(worklist))


def build_site(
    settings: Settings, worklist: Worklist, clock: Clock, actor: str, disk: Callable[[], Disk]
) -> tuple[Site, Callable[[], None]] | None:
    """The pages, and what ends what they use; None where the site does not want them.

    The first start makes one admin, without a password.

    Raises:
        WorklistUnavailableError: the database is away.
        ConfigurationError: a file that it names cannot be used.
    """
    web = settings.web
    if not web.pages:
        return None
    if web.is_plain:
        log.warning(
            "web_unencrypted", host=web.host, remedy="add [web.tls], or public_url = https of a proxy before it"
        )
    if web.refused_passwords_file and (trouble := trouble_with_list(web.refused_passwords_file)):
        raise ConfigurationError(
            f"[web] refused_passwords_file: {trouble}", remedy="name a readable text file, one password a line"
        )
    from triage_agent.web.site.images import Radiographs
    from triage_agent.worklist import SqlFeedback, SqlReadingList, SqlSavedViews, database_of
    from triage_agent.worklist.figures import SqlFigures
    from triage_agent.worklist.sessions import SqlSessions

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
        Radiographs(reading(settings, decoders), spool_folder(settings)),
        SqlFeedback(database),
        SqlFigures(database),
        disk,
        clock,
        __version__,
        entrance=_entrance(settings, worklist, clock),
        views=SqlSavedViews(database),
        sessions=SqlSessions(database),
    )
    watch = Loop("condition", site.condition.step, idle_seconds=_LOOK_SECONDS)
    watch.start()

    def close() -> None:
        watch.stop()
        site.verifier.close()
        decoders.close()

    return site, close


def callers_of(settings: Settings) -> list[Caller]:
    """The programs that have tokens."""
    return [Caller(name=one.name, token=one.token, may=frozenset(one.may)) for one in settings.web.tokens]


def _entrance(settings: Settings, worklist: Worklist, clock: Clock) -> Entrance:
    web = settings.web
    seal = Seal(web.secrets_key or own_key(settings.data_dir))
    issuer = f"Triage {settings.institution}".replace(":", " ").strip()
    asked = SecondSettings(required=frozenset(web.second_factor), issuer=issuer)
    provider = _provider(settings, clock)
    return Entrance(
        seal=seal,
        second=SecondFactor(build_second_factors(worklist), seal, clock, asked),
        provider=provider,
        label=web.oidc.label if web.oidc else "",
        access=Access(callers_of(settings)),
        masked=frozenset(web.mask_names_for),
        tries=web.sign_ins_per_minute,
        requests=web.requests_per_minute,
    )


def look_at_provider(settings: Settings, clock: Clock) -> str:
    """Whether the identity provider answers as it should.

    Raises:
        TriageError: it does not.
    """
    provider = _provider(settings, clock)
    try:
        return "none" if provider is None else provider.check()
    except NotVouchedError as error:
        raise TriageError(str(error), remedy="check [web.oidc] issuer and ca, and that the provider runs") from None


def _provider(settings: Settings, clock: Clock) -> Provider | None:
    oidc = settings.web.oidc
    if oidc is None:
        return None
    known = ProviderSettings(
        issuer=oidc.issuer,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
        redirect=f"{settings.web.public_url.rstrip('/')}/oidc/back",
        roles_claim=oidc.roles_claim,
        name_claim=oidc.name_claim,
        roles=oidc.groups(),
        scopes=oidc.scopes,
        amr=frozenset(oidc.amr),
        ca=oidc.ca,
        timeout_seconds=oidc.timeout_seconds,
    )
    return Provider(known, clock)


def _shown(settings: Settings) -> SiteSettings:
    web = settings.web
    return SiteSettings(
        institution=settings.institution,
        secure=web.is_secure,
        idle=timedelta(minutes=web.idle_minutes),
        longest=timedelta(hours=web.session_hours),
        pacs_link=web.pacs_link,
        evidence=settings.results.evidence,
        refused_passwords=web.refused_passwords_file,
        destinations=tuple(dict.fromkeys(route.to for route in settings.routes)),
    )


def link_to(settings: Settings, secret: str) -> str:
    """Where a one-time link leads."""
    web = settings.web
    host = f"[{web.host}]" if ":" in web.host else web.host
    base = web.public_url or f"{'https' if web.tls else 'http'}://{host}:{web.port}"
    return urljoin(base.rstrip("/") + "/", f"first/{secret}")


def first_link(settings: Settings) -> str | None:
    """The link that the first start left, where it leads to these pages; None where there is none."""
    try:
        link = (settings.data_dir / _FIRST_LINK).read_text("utf-8").strip()
    except OSError:
        return None
    return link if link.startswith(link_to(settings, "")) else None  # a folder may have been kept from another port


def write_link(file: Path, link: str) -> None:
    """Keep a link where only our own user reads it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(link + "\n")
