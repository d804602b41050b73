"""Wires fetching from the settings: a client and a fetcher a PACS, and the loops' step."""

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from triage_agent.builders import build_peers
from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.retrieving import RetrievalClient
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.intake.fetching import Fetcher, FetchRule, Tried
from triage_agent.intake.receiver import Receiver
from triage_agent.measuring import CountingReceiver
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.spooling import build_belonging, build_spool

log = structlog.get_logger(__name__)

LOOPS = 2  # studies that one process fetches at the same time: a slow one delays only so many
_ARRIVAL = timedelta(seconds=5)


def retrieving_peers(settings: Settings) -> tuple[str, ...]:
    """The peers that studies can be fetched from, in the configuration's order."""
    return tuple(peer.name for peer in settings.dicom.peers if peer.retrieve is not None)


def build_counter(settings: Settings) -> DicomClient | None:
    """Who is asked how many images a study has; None where nobody is."""
    if settings.study.ask_peer is None:
        return None
    return DicomClient(build_peers(settings)[settings.study.ask_peer], calling_ae_title=settings.dicom.ae_title)


def build_client(
    settings: Settings,
    name: str,
    worklist: Worklist | None = None,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
) -> RetrievalClient:
    """A way to fetch from a peer; without a worklist only to ask it. `metrics` count what comes by C-GET.

    Raises:
        ConfigurationError: there is no such peer, or nothing says how to fetch from it.
    """
    peer = next((peer for peer in settings.dicom.peers if peer.name == name), None)
    if peer is None:
        known = ", ".join(retrieving_peers(settings)) or "none yet"
        raise ConfigurationError(f"no [[dicom.peers]] is named {name!r}", remedy=f"to fetch from there are: {known}")
    if peer.retrieve is None:
        raise ConfigurationError(
            f"nothing says how to fetch from {name}", remedy='give its [[dicom.peers]] retrieve = "move" or "get"'
        )

    receiver: CountingReceiver | None = None
    if worklist is not None and clock is not None and peer.retrieve == "get":
        build_belonging(settings, worklist).settle()  # as where a listener begins: it is written to
        words = settings.study.priority_words.words()
        spool = build_spool(settings, holds=False)  # what is not kept is fetched again
        keeper = Receiver(spool, worklist, settings.study.rule(), clock, words=words)
        receiver = CountingReceiver(keeper, settings, metrics or Metrics())
    dicom = settings.dicom
    return RetrievalClient(
        build_peers(settings)[name],
        calling_ae_title=dicom.ae_title,
        way=peer.retrieve,
        keeper=receiver,
        listening_at=f"{_reached_at(dicom.host)}:{dicom.port}",
        answer_seconds=dicom.timeout_seconds,
        request_seconds=settings.study.fetch_seconds,
    )


class Fetching:
    """Fetches what is wanted, from whichever PACS; its steps run in loops of their own."""

    def __init__(
        self,
        settings: Settings,
        worklist: Worklist,
        clock: Clock,
        kept: Callable[[], None],
        metrics: Metrics | None = None,
    ) -> None:
        """`kept` is called when something came; `metrics` count what came, and of each try what came of it."""
        self._metrics = metrics or Metrics()
        self._worklist = worklist
        self._clock = clock
        self._kept = kept
        self._lease = timedelta(seconds=settings.worker.lease_seconds)
        self._stopping = threading.Event()
        self._clients = {
            name: build_client(settings, name, worklist, clock, self._metrics) for name in retrieving_peers(settings)
        }
        self._fetchers = {
            name: Fetcher(
                worklist=worklist,
                archive=client,
                rule=_rule(settings, name),
                clock=clock,
                wait=self._stopping.wait,
            )
            for name, client in self._clients.items()
        }

    def client(self, name: str) -> RetrievalClient:
        """What asks a peer."""
        return self._clients[name]

    def step(self, owner: str, study_instance_uid: str | None = None) -> tuple[bool, Tried | None]:
        """Try what is due, or one study; whether there was something to do, and what came of it."""
        if self._stopping.is_set():
            return False, None
        retrieval = self._worklist.claim_retrieval(owner, self._clock(), self._lease, study_instance_uid)
        if retrieval is None:
            return False, None
        fetcher = self._fetchers.get(retrieval.peer)
        if fetcher is None:
            error = f"nothing says any more how to fetch from {retrieval.peer}"
            self._worklist.retrieval_ended(retrieval, self._clock(), error=error, retry_at=None)
            self._count("failed")
            return True, None
        tried = fetcher.attempt(retrieval)
        if tried is not None:
            self._count("failed" if tried.error else "incomplete" if tried.lacking else "complete")
        self._kept()
        return True, tried

    def _count(self, outcome: str) -> None:
        self._metrics.retrievals.labels(outcome).inc()

    def wait(self, seconds: float) -> bool:
        """True when it is time to stop."""
        return self._stopping.wait(seconds)

    def stop(self) -> None:
        """Begin nothing more and hang up: what is in hand is free for another process, or for the next start."""
        self._stopping.set()
        for client in self._clients.values():
            client.close()


def longest_pause(settings: Settings) -> timedelta:
    """Between two tries at a study, whichever peer it comes from."""
    return _rule(settings, "").longest_pause


def _reached_at(host: str) -> str:
    """What to tell a PACS's admin; every interface is no address."""
    return "this machine's address" if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - nothing is bound


def _rule(settings: Settings, name: str) -> FetchRule:
    by_move = any(peer.name == name and peer.retrieve == "move" for peer in settings.dicom.peers)
    return FetchRule(
        tries=settings.study.fetch_tries,
        pause=timedelta(seconds=settings.study.fetch_pause_seconds),
        arrival=_ARRIVAL if by_move else timedelta(0),
    )
