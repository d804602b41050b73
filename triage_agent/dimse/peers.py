"""Who may talk to us: calling AE title and address together, never one of them alone."""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from triage_agent.dimse.tls import ClientTls

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

log = structlog.get_logger(__name__)

STORE = "store"
QUERY = "query"
COMMIT = "commit"
UPS = "ups"
REPORT = "report"  # nobody writes it: a peer that we ask for commitment may report on it

UNKNOWN_CALLER = "calling AE title not recognized"
WRONG_CERTIFICATE = "certificate does not carry the calling peer's name"

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_REMEMBER_SECONDS = 60.0
_LOOKUP_SECONDS = 2.0  # a name service that hangs must not hold association requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A DICOM application that may talk to us, or that we talk to.

    Attributes:
        host: name or address; "" for a peer that only calls, from one of `networks`.
        may: what it is allowed to ask for: `store`, `query`, `commit`, `ups`; `report` where we ask it. C-ECHO needs
            none.
        networks: where it may call from, besides `host`.
        certificate_name: what its certificate must name, who calls or is called; "": whatever the CA signed.
        tls: how to call it by TLS; None for plain TCP.
        max_associations: how many it may have open at once; None for as many as there are.
        max_associations_per_minute: how many it may begin within any minute.
    """

    name: str
    ae_title: str
    host: str
    port: int
    may: frozenset[str]
    networks: tuple[Network, ...] = ()
    certificate_name: str = ""
    tls: "ClientTls | None" = field(default=None, repr=False)
    max_associations: int | None = None
    max_associations_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do, and which peers it is; none where unknown peers are accepted."""

    may: frozenset[str]
    peers: tuple[Peer, ...] = ()


def ourselves(ae_title: str, host: str, port: int, tls: "ClientTls | None" = None) -> Peer:
    """The agent that listens there as a caller of its own: from its own address it may ask whether it is there."""
    return Peer(name="ourselves", ae_title=ae_title, host=own_address(host), port=port, may=frozenset(), tls=tls)


def own_address(host: str) -> str:
    """Where this machine reaches what listens at `host`: every address is loopback too."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound


class AccessPolicy:
    """Says what a calling AE title at an address may do; safe to call from many threads.

    Args:
        own: who may come in and store nothing, without being a peer.
    """

    def __init__(
        self,
        peers: Iterable[Peer],
        *,
        accept_unknown: bool = False,
        own: Peer | None = None,
        resolve: Callable[[str], frozenset[str]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers = tuple(peers)
        self._accept_unknown = accept_unknown
        self._own = own
        self._resolve = resolve or partial(within, _LOOKUP_SECONDS, resolve_host)
        self._monotonic = monotonic
        self._resolved: dict[str, tuple[float, frozenset[str]]] = {}

    def permissions(self, calling_ae_title: str, address: str) -> frozenset[str] | None:
        """What the caller may do; None when it is nobody we know.

        Where unknown peers are accepted they may store, and nothing else.
        """
        answer = self.admit(calling_ae_title, address, frozenset())
        return answer.may if isinstance(answer, Grant) else None

    def admit(self, calling_ae_title: str, address: str, certificate_names: frozenset[str]) -> Grant | str:
        """What the caller may do whose certificate carries these names, in lower case; or why it is nobody we know.

        A peer with a certificate's name is nobody without it, also where unknown peers are accepted.
        """
        title, where = calling_ae_title.strip(), normal_address(address)
        known = [peer for peer in self._peers if self._is(peer, title, where)]
        named = [
            peer for peer in known if not peer.certificate_name or peer.certificate_name.lower() in certificate_names
        ]
        if named:
            return Grant(frozenset[str]().union(*(peer.may for peer in named)), tuple(named))
        if known:
            return WRONG_CERTIFICATE
        if self._accept_unknown:
            return Grant(frozenset({STORE}))
        if self._own is not None and self._is(self._own, title, where):
            return Grant(frozenset())
        return UNKNOWN_CALLER

    def names(self, calling_ae_title: str, address: str, permission: str) -> frozenset[str]:
        """The peers that the caller is, of those that have a permission."""
        title, where = calling_ae_title.strip(), normal_address(address)
        return frozenset(peer.name for peer in self._peers if permission in peer.may and self._is(peer, title, where))

    def _is(self, peer: Peer, title: str, where: str) -> bool:
        if peer.ae_title.strip() != title:
            return False
        return _in_one_of(where, peer.networks) or (bool(peer.host) and where in self._addresses(peer.host))

    def _addresses(self, host: str) -> frozenset[str]:
        """A host's addresses, looked up at most once a minute; the last ones known while the name service is away."""
        now = self._monotonic()
        until, known = self._resolved.get(host, (0.0, frozenset()))
        if now < until:
            return known
        try:
            known = self._resolve(host)
        except OSError as error:
            log.warning("peer_host_unresolved", host=host, error=str(error))
        self._resolved[host] = (now + _REMEMBER_SECONDS, known)
        return known


def within(seconds: float, resolve: Callable[[str], frozenset[str]], host: str) -> frozenset[str]:
    """What `resolve` finds; the resolver's own timeouts add up to half a minute and cannot be set.

    Raises:
        OSError: it found nothing, or not within `seconds`.
    """
    found: queue.SimpleQueue[frozenset[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(resolve(host))
        except OSError as error:
            found.put(error)

    threading.Thread(target=look_up, name="look-up-peer", daemon=True).start()
    try:
        answer = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"the name service did not answer within {seconds:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _in_one_of(address: str, networks: Iterable[Network]) -> bool:
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def resolve_host(host: str) -> frozenset[str]:
    """Every address of a host; any loopback address stands for all of them.

    Raises:
        OSError: the name is not known.
    """
    found = {normal_address(str(entry[4][0])) for entry in socket.getaddrinfo(host, None)}
    return frozenset(found | _LOOPBACK if found & _LOOPBACK else found)


def normal_address(address: str) -> str:
    """One spelling an address: no zone, IPv4 out of its IPv6 mapping; anything else unchanged."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
