"""What an agent with a configuration would be: made by the builders of a running one, connected to nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter
from fastapi.routing import APIRoute

from triage_agent.builders import build_peers, build_routes, build_server_settings
from triage_agent.dimse.offer import Acceptable, Offer
from triage_agent.dimse.peers import AccessPolicy, Peer
from triage_agent.dimse.server import ServerSettings
from triage_agent.domain.decision import Route
from triage_agent.domain.ports import Worklist
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.listening import build_services
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.webservices import build_services as build_web_services
from triage_agent.worklist.engine import open_engine
from triage_agent.worklist.repository import SqlWorklist

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that is answered over HTTP: a method, a path, and whether this site has switched it on."""

    method: str
    path: str
    on: bool


@dataclass(frozen=True, slots=True)
class Site:
    """One configuration, as the code understands it."""

    settings: Settings
    peers: Mapping[str, Peer]
    accepted: tuple[Acceptable, ...]
    server: ServerSettings
    routes: tuple[Route, ...]
    resources: tuple[Resource, ...]

    def destinations(self, kind: ArtifactKind) -> list[str]:
        """Where a kind of result is sent; rejection notes go where objects went."""
        families = {kind} if kind is not ArtifactKind.REJECTION else {*ArtifactKind}
        wanted = {one for one in families if kind is not ArtifactKind.REJECTION or one.family is kind.family}
        return list(dict.fromkeys(route.to for route in self.routes if wanted & {*route.send}))

    def may(self, permissions: frozenset[str]) -> list[str]:
        """The peers that have one of the permissions; all where none is needed."""
        found = [peer.name for peer in self.peers.values() if not permissions or permissions & peer.may]
        if "store" in permissions and self.settings.dicom.accept_unknown_peers:
            found.append("whoever calls")
        return found


def site_of(settings: Settings) -> Site:
    """Find out; nothing is listened on, connected to or written, and no certificate is read.

    Raises:
        ConfigurationError: a part cannot be made.
    """
    peers = build_peers(settings)
    with _unused_worklist() as worklist:
        policy = AccessPolicy(peers.values())
        services = build_services(settings, worklist, policy, Metrics(), _now)
        everything = settings.model_copy(update={"web": settings.web.model_copy(update=_all_on(settings))})
        answered = {*_routes(build_web_services(settings, worklist, Metrics(), _now).routers)}
        known = _routes(build_web_services(everything, worklist, Metrics(), _now).routers)
    return Site(
        settings=settings,
        peers=peers,
        accepted=tuple(Offer(services, commits=True).listed()),
        server=build_server_settings(settings),
        routes=tuple(build_routes(settings)),
        resources=tuple(Resource(*one, one in answered) for one in sorted({*known}, key=lambda one: one[::-1])),
    )


@contextmanager
def _unused_worklist() -> Iterator[Worklist]:
    """What services are made with that nobody will ask anything: its file is never made."""
    with TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'unused.db'}")
        try:
            yield SqlWorklist(engine)
        finally:
            engine.dispose()


def _all_on(settings: Settings) -> dict[str, bool]:
    """Every switch of the web server's table."""
    fields = type(settings.web).model_fields
    return {name: True for name, field in fields.items() if field.annotation is bool}


def _routes(routers: Sequence[APIRouter]) -> list[tuple[str, str]]:
    return [(method, path) for router in routers for method, path in _of(router.routes)]


def _of(routes: Iterable[object]) -> Iterator[tuple[str, str]]:
    for route in routes:
        path = str(getattr(route, "path", ""))
        methods = sorted(route.methods or ()) if isinstance(route, APIRoute) else ["WebSocket"]
        yield from ((method, path) for method in methods)


def _now() -> datetime:
    return datetime.now(UTC)


def listed(names: Iterable[object]) -> str:
    """Names in one cell."""
    return ", ".join(map(str, names)) or NOBODY
