"""What `check` looks at: everything that would stop the first study, a finding each, with the remedy."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np

from triage_agent.bootstrap import (
    build_belonging,
    build_peers,
    build_policy,
    build_scorer,
    build_shadow,
    build_transports,
    open_worklist,
)
from triage_agent.cli import auditing, callers, cluster, messages, notices, ports, site, stores, waiting
from triage_agent.cli.collecting import looks as looks_at_traces
from triage_agent.commitment import build_client, committing_destinations
from triage_agent.dimse.client import DicomClient
from triage_agent.domain.errors import DeliveryError, TriageError
from triage_agent.domain.ports import ImageScorer
from triage_agent.intake.spool import check_room, free_percent
from triage_agent.retrieval import build_client as build_retrieval_client
from triage_agent.retrieval import retrieving_peers
from triage_agent.settings import Settings
from triage_agent.spooling import receiving_folder, spool_home

_AS_SERVE = "run `check` as the user that `serve` runs as, and give that user the folder"
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # a clock before this agent was written is wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """One part's state; `remedy` says what to do where it is not well."""

    part: str
    ok: bool
    says: str
    remedy: str = ""
    warns: bool = False  # it works, and somebody should do something

    @property
    def word(self) -> str:
        """How the line begins."""
        return ("WARN" if self.warns else "ok  ") if self.ok else "FAIL"


def examine(settings: Settings) -> list[Finding]:
    """Look at every part; one that is not well does not hide the others."""
    return [_examine(part, look) for part, look in _parts(settings)]


def _parts(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "configuration", lambda: _configuration(settings)
    yield "policy", lambda: site.look_at_policy(settings)
    yield "database", lambda: _database(settings)
    if not settings.database_url.startswith("sqlite"):
        yield "database role", lambda: site.look_at_role(settings)
    yield "spool", lambda: _spool(settings)
    yield from stores.looks(settings)
    yield "audit", lambda: auditing.look_at_audit(settings)
    yield "backlog", lambda: waiting.look_at_backlog(settings)
    yield "disk", lambda: _disk(settings)
    yield "folder", lambda: site.look_at_folder(settings)
    yield "limits", lambda: site.look_at_limits(settings)
    yield "retention", lambda: site.look_at_retention(settings)
    yield from looks_at_traces(settings)
    if settings.model.runner == "ray":
        settings = cluster.only_looking(settings)
        yield "Ray cluster", lambda: cluster.look_at_cluster(settings)
    yield "model", lambda: _scores(settings)
    if settings.model.shadow:
        yield "shadow model", lambda: _shadow(settings)
    yield "clock", _clock
    if settings.dicom.plain:
        yield "DICOM port", lambda: ports.look_at_dicom(settings)
    if settings.dicom.tls is not None:
        yield "TLS certificate", lambda: ports.look_at_certificate(settings)
        yield "DICOM TLS port", lambda: ports.look_at_dicom_tls(settings)
    if settings.hl7.listen is not None:
        yield "HL7 port", lambda: ports.look_at_orders(settings)
    if settings.web.tls is not None:
        yield "web certificate", lambda: ports.look_at_web_certificate(settings)
    yield "web port", lambda: ports.look_at_web(settings)
    if settings.web.oidc is not None:
        yield "identity provider", lambda: _provider(settings)
    yield from _peers(settings)
    yield from notices.looks(settings)


def _peers(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each peer, and what else is asked of it: that only where it answers at all, since each silence takes its time."""
    away: set[str] = set()
    for name, transport in build_transports(settings).items():
        yield f"peer {name}", partial(_reach, name, transport.check, away)
    yield from messages.certificates(settings)
    yield from messages.examples(settings)
    for name in committing_destinations(settings):
        yield f"commitment by {name}", partial(_unless_away, name, build_client(settings, name).check, away)
    if settings.study.ask_peer is not None:
        peer = build_peers(settings)[settings.study.ask_peer]
        client = DicomClient(peer, calling_ae_title=settings.dicom.ae_title)
        yield f"asking {peer.name}", partial(_unless_away, peer.name, client.check_find, away)
    for name in retrieving_peers(settings):
        client_of = build_retrieval_client(settings, name)
        yield f"fetching from {name}", partial(_unless_away, name, client_of.check, away)


def _reach(name: str, look: Callable[[], str], away: set[str]) -> str:
    try:
        return look()
    except DeliveryError as error:
        if error.away:
            away.add(name)
        raise


def _unless_away(name: str, look: Callable[[], str], away: set[str]) -> str:
    if name in away:
        raise TriageError(f"not asked, since {name} does not answer", remedy=f"mend what the line `peer {name}` says")
    return look()


def _examine(part: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(part, ok=True, says=look())
    except ports.Noteworthy as error:
        return Finding(part, ok=True, says=error.message, remedy=error.remedy, warns=True)
    except TriageError as error:
        return Finding(part, ok=False, says=error.message, remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - a doctor names every illness
        return Finding(part, ok=False, says=f"{type(error).__name__}: {error}", remedy="report this as a bug")


def _configuration(settings: Settings) -> str:
    rules = build_policy(settings).rules
    site.require_ports_of_their_own(settings)
    if not settings.routes:
        raise TriageError("no [[routes]]: results go nowhere", remedy='add one, such as to = "pacs", send = ["sr"]')
    if not settings.dicom.peers and not settings.dicom.accept_unknown_peers:
        raise TriageError("no [[dicom.peers]]: nobody may send studies", remedy="add the PACS")
    callers.require_distinct(settings)
    counts = [(len(settings.dicom.peers), "DICOM peer"), (len(settings.routes), "route"), (len(rules), "rule")]
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counts)


def _database(settings: Settings) -> str:
    from triage_agent.worklist import migrate

    revision = migrate.current(settings.database_url)
    if revision is None and settings.database_url.startswith("sqlite"):
        site.require_folder_of_database(settings)
        return "no tables yet; `serve` makes them"
    open_worklist(settings)
    return f"answers, at migration {revision}"


def _spool(settings: Settings) -> str:
    """Whether `serve` would start with this spool and this database together."""
    from triage_agent.intake.belonging import Bond, look_without_database
    from triage_agent.worklist import migrate

    if settings.database_url.startswith("sqlite") and migrate.current(settings.database_url) is None:
        bond = look_without_database(spool_home(settings))
    else:
        bond = build_belonging(settings, open_worklist(settings)).look()
    return "it and the database belong together" if bond is Bond.TOGETHER else "`serve` joins it to the database"


def _disk(settings: Settings) -> str:
    """Look at what is there, and make nothing: it would belong to whoever looks, and `serve` may be another user."""
    data_dir = settings.data_dir.absolute()
    spool = receiving_folder(settings).absolute()
    try:
        there = next(folder for folder in (spool, *spool.parents) if folder.exists())
    except PermissionError as error:
        raise TriageError(f"{error.filename} cannot be looked into", remedy=_AS_SERVE) from None
    if not there.is_dir():
        raise TriageError(f"{there} is not a folder", remedy="set data_dir to a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise TriageError(f"this user may not write to {there}", remedy=_AS_SERVE)
    check_room(there, settings.storage.low_water_percent)
    new = "" if there == spool else "; `serve` makes the folders"
    free = free_percent(there)
    return f"{free:.0f} % free at {data_dir}{site.nearly_full(free, settings.storage.low_water_percent)}{new}"


def _shadow(settings: Settings) -> str:
    cluster.require_somebody(settings)
    try:
        scorer = build_shadow(settings)
    except TriageError as error:
        raise TriageError(f"{error.message} (`serve` runs without it)", remedy=error.remedy) from error
    return "none" if scorer is None else f"{_model(scorer, settings.model.shadow)}; it has no effect on any priority"


def _scores(settings: Settings) -> str:
    cluster.require_somebody(settings)
    return _model(build_scorer(settings), settings.model.bundle)


def _model(scorer: ImageScorer, bundle: str) -> str:
    from triage_agent.models.bundle import load_bundle
    from triage_agent.models.doubts import doubts

    started = time.perf_counter()
    (score,) = scorer.score([np.random.default_rng(0).random((512, 512), dtype=np.float32)])
    model = scorer.identity
    use = "" if model.clinical_use else ", not for clinical use"
    scored = f"test image scored {score.probability:.2f} in {time.perf_counter() - started:.2f} s"
    return "; ".join(
        (f"{model.label}: {scored}{use}", *(f"WARNING: {one}" for one in doubts(load_bundle(bundle).spec)))
    )


def _provider(settings: Settings) -> str:
    from triage_agent.signing_in import look_at_provider

    return look_at_provider(settings, lambda: datetime.now(UTC))


def _clock() -> str:
    now = datetime.now(UTC)
    if now < _EARLIEST:
        raise TriageError(f"the clock says {now:%Y-%m-%d}", remedy="set it, and keep it set by NTP")
    return f"{now:%Y-%m-%d %H:%M:%S} UTC"
