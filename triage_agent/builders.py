"""Makes the parts from the settings: ports get their adapters. A running agent is put together in `bootstrap`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from triage_agent.decision.rules import Policy
from triage_agent.domain.decision import Route
from triage_agent.domain.hl7_form import USUAL_FORM
from triage_agent.domain.ports import Clock, ImageScorer, Transport, Worklist
from triage_agent.sections.dicom import PeerSettings
from triage_agent.sections.hl7 import Hl7PeerSettings
from triage_agent.settings import Settings
from triage_agent.spooling import originals, reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from triage_agent.delivery.endpoint import Securing
    from triage_agent.delivery.retry import RetryPolicy
    from triage_agent.dimse.certificates import TlsFiles
    from triage_agent.dimse.peers import Peer
    from triage_agent.dimse.server import ServerSettings
    from triage_agent.dimse.tls import ClientTls, TlsKeeper
    from triage_agent.dimse.tls_watch import CertificateWatch
    from triage_agent.imaging.isolated.pool import Decoders
    from triage_agent.intake.retention import Retention
    from triage_agent.worklist.signals import Signals


def open_worklist(settings: Settings) -> Worklist:
    """The worklist as it is; nothing is migrated.

    Raises:
        WorklistUnavailableError: the database is away, was not made yet, or has other tables than this version needs.
    """
    from triage_agent.worklist.engine import open_engine
    from triage_agent.worklist.repository import SqlWorklist

    worklist = SqlWorklist(open_engine(settings.database_url, create=False), reachable(settings))
    worklist.ping()
    return worklist


def read_worklist(settings: Settings) -> Worklist:
    """The worklist for who only looks: also on a full disk.

    Raises:
        WorklistUnavailableError: the database is away, was not made yet, or has other tables than this version needs.
    """
    from triage_agent.worklist.engine import open_engine
    from triage_agent.worklist.repository import SqlWorklist

    worklist = SqlWorklist(open_engine(settings.database_url, create=False, reading=True))
    worklist.require_current()
    return worklist


def build_reserve(settings: Settings) -> "Callable[[], None] | None":
    """What keeps some room for the database on a full disk; None with Postgres, whose disk is not ours."""
    if not settings.database_url.startswith("sqlite"):
        return None
    from triage_agent.worklist.reserve import Reserve

    return Reserve(Path(settings.database_url.removeprefix("sqlite:///")), settings.storage.reserve_mb << 20).keep


def build_signals(settings: Settings, wake: "Callable[[str], None]") -> "Signals | None":
    """What tells of other processes' work and of the common time; None with SQLite, which cannot.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if not settings.database_url.startswith("postgresql"):
        return None
    from triage_agent.worklist.signals import Signals

    return Signals(settings.database_url, wake)


def build_policy(settings: Settings) -> Policy:
    """The site's rules, or the built-in ones where it has none.

    Raises:
        ConfigurationError: a rule cannot be used.
    """
    return settings.policy.policy()


def build_routes(settings: Settings) -> list[Route]:
    """What goes where, in each destination's form."""
    forms = {peer.name: peer.form() for peer in settings.hl7.peers}
    return [
        Route(to=one.to, send=one.send, form=forms.get(one.to, USUAL_FORM), unscored=one.told_of())
        for one in settings.routes
    ]


def build_scorer(settings: Settings, bundle: str | None = None) -> ImageScorer:
    """The scorer of `bundle`, else of the configured one, on the configured runner and device; for a command.

    Raises:
        BundleError: the bundle cannot be loaded.
        ConfigurationError: the packages that score are not installed.
    """
    return _deciding(settings, bundle or settings.model.bundle, apart=False)


def start_scorer(settings: Settings) -> ImageScorer:
    """As `build_scorer`, for an agent that does much else: in a process of its own where the settings say so."""
    return _deciding(settings, settings.model.bundle, apart=settings.model.own_process)


def _deciding(settings: Settings, ref: str, *, apart: bool) -> ImageScorer:
    model = settings.model
    return _start(settings, ref, _threads(settings, ref), model.encoder, model.error_rate, apart=apart)


def _threads(settings: Settings, ref: str) -> int | None:
    """For the CPU's arithmetic.

    The embedded network takes about 60 ms an image with one thread; that leaves the other cores to whoever receives.
    """
    from triage_agent.models.bundle import EMBEDDED

    return settings.model.threads or (1 if ref == EMBEDDED else None)


def build_shadow(settings: Settings) -> ImageScorer | None:
    """The scorer of the shadow bundle, on the runner and device of the deciding one; None where there is none.

    Threads are the process's: they stay as the deciding bundle wants them, so this one is built after it.

    Raises:
        BundleError: the bundle cannot be loaded.
        ConfigurationError: the packages that score are not installed.
    """
    return _second(settings, None, apart=False)


def start_shadow(settings: Settings) -> ImageScorer | None:
    """As `build_shadow`, for an agent: in a process of its own where the settings say so, with threads of its own."""
    if not settings.model.own_process:
        return build_shadow(settings)
    return _second(settings, _threads(settings, settings.model.shadow), apart=True)


def _second(settings: Settings, threads: int | None, *, apart: bool) -> ImageScorer | None:
    model = settings.model
    if not model.shadow:
        return None
    return _start(settings, model.shadow, threads, model.shadow_encoder, None, yields=True, apart=apart)


def _start(
    settings: Settings,
    ref: str,
    threads: int | None,
    encoder: str | None,
    error_rate: float | None,
    *,
    yields: bool = False,
    apart: bool,
) -> ImageScorer:
    from triage_agent.domain.errors import MissingPackageError
    from triage_agent.models import runner

    model = settings.model
    placement = runner.Placement(
        device=model.device,
        threads=threads,
        batch=model.batch,
        encoder_source=encoder,
        error_rate=error_rate,
        outlier_limit=model.outlier_limit,
        compiled=model.compile,
        latency=model.latency_ms / 1000,
        precision=model.precision,
        yields=yields,
        apart=apart,
        lanes=max(settings.worker.loops or 0, runner.LANES),
        plan=model.ray.plan() if model.runner == "ray" else None,
    )
    try:
        return runner.start(model.runner, ref, placement)
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", extra="gpu") from None


def build_peers(settings: Settings) -> "dict[str, Peer]":
    """The DICOM peers by name."""
    from triage_agent.dimse.peers import REPORT, Peer

    asked = {route.to for route in settings.routes if route.commit}
    return {
        peer.name: Peer(
            name=peer.name,
            ae_title=peer.ae_title,
            host=peer.host,
            port=peer.port,
            may=frozenset(peer.may) | ({REPORT} if peer.name in asked else set()),
            networks=peer.networks,
            certificate_name=peer.certificate_name,
            tls=_client_tls(settings, peer),
            max_associations=peer.max_associations,
            max_associations_per_minute=peer.max_associations_per_minute,
        )
        for peer in settings.dicom.peers
    }


def build_tls(settings: Settings) -> "TlsKeeper | None":
    """Our side of TLS, the same one each time, so that a new certificate is new everywhere; None without [dicom.tls].

    Nothing is read before it is used.
    """
    tls = settings.dicom.tls
    if tls is None:
        return None
    from triage_agent.dimse.certificates import TlsFiles

    return _keeper(
        TlsFiles(
            certificate=tls.certificate,
            key=tls.key,
            ca=tls.ca,
            key_password=tls.key_password,
            require_client_certificate=tls.require_client_certificate,
        ),
        any(peer.tls for peer in settings.dicom.peers)
        or any(peer.tls and peer.ca is None for peer in settings.hl7.peers),
    )


def build_certificate_watch(settings: Settings) -> "CertificateWatch | None":
    """What takes up changed certificates; None without [dicom.tls]."""
    if (keeper := build_tls(settings)) is None:
        return None
    from triage_agent.dimse.tls_watch import CertificateWatch

    return CertificateWatch(keeper, _utc_now)


def build_server_settings(settings: Settings) -> "ServerSettings":
    """How the DICOM server listens."""
    from triage_agent.dimse.server import ServerSettings

    dicom, tls = settings.dicom, build_tls(settings)
    return ServerSettings(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=dicom.port,
        max_associations=dicom.max_associations,
        timeout_seconds=dicom.timeout_seconds,
        min_bytes_per_second=dicom.min_bytes_per_second,
        warn_on_conflict=dicom.warn_on_conflict,
        plain=dicom.plain,
        tls=tls.server if tls else None,
        tls_port=dicom.tls.port if dicom.tls else 0,
    )


@lru_cache(maxsize=4)
def _keeper(files: "TlsFiles", calling: bool) -> "TlsKeeper":
    from triage_agent.dimse.tls import TlsKeeper

    return TlsKeeper(files, _utc_now, calling=calling)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _client_tls(settings: Settings, peer: PeerSettings) -> "ClientTls | None":
    if not peer.tls or (keeper := build_tls(settings)) is None:
        return None
    from triage_agent.dimse.tls import ClientTls

    return ClientTls(keeper, name=peer.certificate_name)


def _hl7_tls(settings: Settings, peer: Hl7PeerSettings) -> "Securing | None":
    """By the peer's own files, else by ours for DICOM."""
    if not peer.tls:
        return None
    if peer.ca is None:
        from triage_agent.dimse.tls import ClientTls

        keeper = build_tls(settings)
        return None if keeper is None else ClientTls(keeper, name=peer.certificate_name)
    from triage_agent.delivery.tls import PeerTls

    return PeerTls(
        ca=peer.ca,
        certificate=peer.certificate,
        key=peer.key,
        key_password=peer.key_password,
        name=peer.certificate_name,
    )


def build_transports(settings: Settings) -> dict[str, Transport]:
    """A way to each peer, by its name."""
    from triage_agent.delivery.endpoint import Endpoint
    from triage_agent.delivery.registry import REGISTRY

    transports = {
        peer.name: REGISTRY["dimse"](
            Endpoint(
                host=peer.host,
                port=peer.port,
                ae_title=peer.ae_title,
                calling_ae_title=settings.dicom.ae_title,
                answer_seconds=settings.dicom.timeout_seconds,
                tls=_client_tls(settings, peer),
            )
        )
        for peer in settings.dicom.peers
        if peer.host
    }
    for peer in settings.hl7.peers:
        transports[peer.name] = REGISTRY["mllp"](
            Endpoint(
                host=peer.host,
                port=peer.port,
                answer_seconds=peer.timeout_seconds,
                secured=_hl7_tls(settings, peer),
            )
        )
    transports |= {peer.name: REGISTRY["dicomweb"](peer.endpoint()) for peer in settings.dicomweb.peers}
    transports |= {peer.name: REGISTRY["fhir"](peer.endpoint()) for peer in settings.fhir.peers}
    return transports


def build_retry(settings: Settings) -> "RetryPolicy":
    """When something that could not be sent is tried again."""
    from triage_agent.delivery.retry import RetryPolicy

    delivery = settings.delivery
    return RetryPolicy(
        first=timedelta(seconds=delivery.first_retry_seconds),
        longest=timedelta(seconds=delivery.longest_retry_seconds),
        give_up_after=timedelta(hours=delivery.give_up_after_hours),
    )


def build_retention(settings: Settings, worklist: Worklist, clock: Clock) -> "Retention":
    """What deletes originals that nobody waits for any more."""
    from triage_agent.intake.retention import Retention, Rule

    storage = settings.storage
    days = 0 if storage.keep_originals == "until_delivered" else storage.retention_days or None
    rule = Rule(
        originals=None if days is None else timedelta(days=days),
        quarantine=timedelta(days=storage.quarantine_days) if storage.quarantine_days else None,
    )
    return Retention(originals(settings), worklist, rule, clock)


def build_loader(settings: Settings, *, most: int = 1) -> "Decoders":
    """Who reads stored files, `most` at the same time: in processes that a hostile file can only end.

    To be closed by whoever asked for it.
    """
    from triage_agent.imaging.isolated.pool import Decoders, Limits

    worker = settings.worker
    return Decoders(Limits(seconds=worker.decode_seconds, memory_mb=worker.decode_memory_mb), most=most)


def migrate_own(settings: Settings) -> None:
    """On SQLite the agent owns its file and migrates it; on Postgres an admin does, before the replicas start."""
    from triage_agent.worklist import migrate

    if settings.database_url.startswith("sqlite"):
        migrate.upgrade(settings.database_url)
