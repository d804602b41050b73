"""What `check` says of peers that cannot be told apart."""

import ipaddress
from collections.abc import Callable
from functools import partial
from itertools import combinations

from triage_agent.cli.ports import Noteworthy
from triage_agent.dimse.peers import Network, resolve_host, within
from triage_agent.sections.dicom import PeerSettings
from triage_agent.settings import Settings

_LOOK_UP_SECONDS = 2.0


def require_distinct(settings: Settings, resolve: Callable[[str], frozenset[str]] | None = None) -> None:
    """Peers are told apart by AE title and address; what two that cannot be may, either may.

    Raises:
        Noteworthy: two have one AE title and a common address, or one has ours.
    """
    peers, look_up = settings.dicom.peers, resolve or partial(within, _LOOK_UP_SECONDS, resolve_host)
    for peer in peers:
        if peer.ae_title == settings.dicom.ae_title:
            raise Noteworthy(
                f"peer {peer.name} has our own AE title {peer.ae_title}: who sends by AE title cannot tell us apart",
                remedy="give one of us another AE title",
            )
    for one, other in combinations(peers, 2):
        if one.ae_title == other.ae_title and _overlap(_places(one, look_up), _places(other, look_up)):
            raise Noteworthy(
                f"peers {one.name} and {other.name} cannot be told apart when they call (AE title {one.ae_title}, "
                "common address): what one may, both may",
                remedy="give them one [[dicom.peers]], another AE title, or networks of their own",
            )


def _places(peer: PeerSettings, look_up: Callable[[str], frozenset[str]]) -> list[Network]:
    """Where it may call from; a host that is not known now is told by the peer's own line."""
    try:
        found = look_up(peer.host) if peer.host else frozenset[str]()
    except OSError:
        found = frozenset()
    return [*peer.networks, *(ipaddress.ip_network(address) for address in found)]


def _overlap(these: list[Network], those: list[Network]) -> bool:
    return any(one.version == other.version and one.overlaps(other) for one in these for other in those)
