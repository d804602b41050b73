"""The application entity as it calls: why, whom, and what it proposes (PS3.2, association initiation policy)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.uid import UID

from triage_agent.conformance.document import Block, Paragraph, Section, table
from triage_agent.conformance.site import Site, listed
from triage_agent.dimse.answers import Judged, retrieve_verdicts, store_verdicts
from triage_agent.dimse.proposals import PROPOSALS, Proposal, Purpose, kept_by_get, storing
from triage_agent.domain.decision import Route
from triage_agent.domain.sop_classes import RADIOGRAPHS
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.results.examples import example_artifact

_ROLES = ("SCU", "SCP")


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that we call peers for."""

    name: str
    when: str
    peers: tuple[str, ...]
    proposals: tuple[Proposal, ...]


def initiator(site: Site) -> Section:
    """Everything about associations that we ask for."""
    done = list(activities(site))
    rows = [(one.name, one.when, listed(one.peers)) for one in done]
    fetched = _statuses("C-MOVE and C-GET of a study", retrieve_verdicts())
    return Section(
        "Association initiation",
        (
            Paragraph(
                "Every wait on an association ends (general policies above). An association for results is kept for "
                "some seconds after the last object. What could not be sent is sent again, as the same object with the "
                "same UIDs, first after a few seconds and then ever more seldom, for a bounded time."
            ),
            table("Activities", ("Activity", "When", "Peers of this site"), rows),
        ),
        (
            Section("Proposed presentation contexts", tuple(_contexts(done))),
            Section("Remote applications", (_remote(site),)),
            Section("What a peer's status means", (_statuses("C-STORE of a result", store_verdicts()), fetched)),
        ),
    )


def activities(site: Site) -> Iterator[Activity]:
    """What we call peers for, whether this site does it or not."""
    settings = site.settings
    known = PROPOSALS
    called = tuple(peer.name for peer in settings.dicom.peers if peer.host)
    ask = () if settings.study.ask_peer is None else (settings.study.ask_peer,)
    yield Activity("Verification", "when an admin runs `check`", called, (known[Purpose.ECHO],))
    yield Activity("Storage of results", "a result is made or sent again", _sent(site), tuple(objects().values()))
    yield Activity("Query", "to learn how many images a study has", ask, (known[Purpose.COUNT],))
    for way, purpose in (("move", Purpose.MOVE), ("get", Purpose.GET)):
        held = (kept_by_get(sorted(RADIOGRAPHS)),) if way == "get" else ()
        peers = tuple(peer.name for peer in settings.dicom.peers if peer.retrieve == way)
        name = f"Query and retrieve by C-{way.upper()}"
        yield Activity(name, "images of a study are missing, or an admin fetches it", peers, (known[purpose], *held))
    asked = tuple(dict.fromkeys(route.to for route in settings.routes if route.commit))
    yield Activity("Storage commitment", "objects were stored", asked, (known[Purpose.COMMITMENT],))
    may = tuple(peer.name for peer in settings.dicom.peers if "commit" in peer.may)
    yield Activity("Report of commitment", "a peer has asked for it", may, (known[Purpose.COMMITMENT_REPORT],))
    ups = _sent(site, ArtifactKind.UPS)
    yield Activity("Workitems of a worklist manager", "a result is made", ups, (known[Purpose.WORKITEM],))
    told = tuple(peer.name for peer in settings.dicom.peers if peer.host and {"query", "ups"} & {*peer.may})
    yield Activity("Events of workitems", "a subscriber is to be told", told, (known[Purpose.WORKITEM_REPORT],))


def objects() -> Mapping[ArtifactKind, Proposal]:
    """What storing each kind of object proposes."""
    made = {kind: example_artifact(kind) for kind in ArtifactKind if kind.family is Family.DICOM_OBJECT}
    return {kind: storing(one.body) for kind, one in made.items() if one is not None}


def _sent(site: Site, *kinds: ArtifactKind) -> tuple[str, ...]:
    """The DICOM peers that objects, or these kinds, are sent to."""

    def goes(route: Route) -> bool:
        return any(kind in kinds or (not kinds and kind.family is Family.DICOM_OBJECT) for kind in route.send)

    return tuple(dict.fromkeys(route.to for route in site.routes if goes(route) and route.to in site.peers))


def _contexts(done: Iterable[Activity]) -> Iterator[Block]:
    yield Paragraph(
        "Each row of a table is proposed with each of its transfer syntaxes in a presentation context of its own, so "
        "that the peer's choice is known. SCP means that the role is proposed by role selection."
    )
    for one in done:
        proposed: dict[tuple[str, str], list[str]] = {}
        for proposal in one.proposals:
            for abstract, syntax in proposal.contexts:
                syntaxes = proposed.setdefault((str(abstract), _ROLES[proposal.provider]), [])
                syntaxes += [UID(syntax).name] if UID(syntax).name not in syntaxes else []
        rows = [(UID(uid).name, uid, role, "; ".join(syntaxes)) for (uid, role), syntaxes in proposed.items()]
        yield table(one.name, ("SOP class", "UID", "Role", "Transfer syntaxes"), rows)


def _remote(site: Site) -> Block:
    rows = [
        (peer.name, peer.ae_title, peer.host, peer.port, "yes" if peer.tls else "no", peer.retrieve or "-")
        for peer in site.settings.dicom.peers
        if peer.host
    ]
    heads = ("Peer", "AE title", "Host", "Port", "TLS", "Retrieve by")
    return table("Where peers are called", heads, rows)


def _statuses(title: str, judged: Iterable[Judged]) -> Block:
    rows = [
        (f"{first:04X}" if first == last else f"{first:04X} to {last:04X}", meaning, verdict)
        for first, last, meaning, verdict in judged
    ]
    return table(title, ("Status", "The standard's name", "What the agent does"), rows)
