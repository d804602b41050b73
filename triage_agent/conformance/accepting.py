"""The application entity as it is called: who may, what can be negotiated, what is answered (PS3.2)."""

from collections.abc import Iterable, Iterator, Sequence

from pydicom.uid import UID

from triage_agent import __version__
from triage_agent.conformance.document import Block, Paragraph, Section, table
from triage_agent.conformance.site import Site, listed
from triage_agent.dimse.answers import ANSWERS
from triage_agent.dimse.modality_worklist import CHARACTER_SETS, SHAPE
from triage_agent.dimse.offer import Acceptable
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID


def acceptor(site: Site) -> Section:
    """Everything about associations that peers ask for."""
    return Section(
        "Association acceptance",
        (Paragraph(_WHO), _peers(site)),
        (
            Section("Presentation contexts", tuple(_contexts(site))),
            Section("Extended negotiation", (Paragraph(_NEGOTIATION),)),
            Section("Storage as provider", (Paragraph(_STORAGE),)),
            Section("Storage Commitment Push Model as provider", (Paragraph(_COMMITMENT),)),
            Section("Modality Worklist as provider", tuple(_worklist(site))),
            Section("Unified Procedure Step as provider", (Paragraph(_UPS),)),
            Section("Statuses that are answered", tuple(_statuses())),
        ),
    )


_WHO = (
    "An association is accepted from a calling AE title at an address that the table below has, under the AE's own "
    "called AE title. Everybody else gets A-ASSOCIATE-RJ: rejected permanent, by the service user, calling (3) or "
    "called (7) AE title not recognized. More associations than a limit allows are rejected transient, by the service "
    "provider (presentation), local limit exceeded (2). A peer negotiates what its permissions allow; other contexts "
    "are refused one by one, and the association stays."
)
_NEGOTIATION = (
    "SCP/SCU role selection (PS3.7 D.3.3.4) is answered for the SOP classes above that have both roles. Asynchronous "
    "operations, SOP class extended and common extended negotiation, and user identity are not negotiated: one "
    "operation at a time is outstanding on an association."
)
_STORAGE = (
    "Conformance is level 2 (full): every element is kept as it came, private ones too, in the transfer syntax in "
    "which it came, and nothing is coerced. Success (0x0000) is answered only once the instance is durable. What can "
    "be decoded and scored is narrower than what is kept; a study of which something cannot be read is shown as one "
    "that a human has to read. There is no digital signature support."
)
_COMMITMENT = (
    "A peer with the permission commit asks by N-ACTION about any instances that the agent holds. The N-EVENT-REPORT "
    "is sent on a new association to the peer's host and port, with role selection as provider; where that cannot be "
    "had, on the association of the request. Originals go when their days are over ([storage] retention_days), those "
    "that were committed to like the others."
)
_UPS = (
    "Each study is a workitem to be read, whose UID is derived from the study's; workitems that peers post with the "
    "code (110004, DCM) are performed by the agent. Permission query: C-FIND, N-GET, and to subscribe oneself; "
    "permission ups: N-CREATE, N-SET, N-ACTION (change state, request cancel) and to subscribe others. The priority "
    "of a study's workitem cannot be set by peers. Events leave on associations of the agent's own. Deletion locks "
    "always hold, since no workitem is deleted."
)


def _peers(site: Site) -> Block:
    rows = []
    for one in site.settings.dicom.peers:
        where = [one.host, *map(str, one.networks)]
        limits = [
            f"{one.max_associations} at once" if one.max_associations else "",
            f"{one.max_associations_per_minute} a minute" if one.max_associations_per_minute else "",
        ]
        named = one.certificate_name or "-"
        rows.append(
            (one.name, one.ae_title, ", ".join(filter(None, where)), _or_dash(one.may), named, _or_dash(limits))
        )
    heads = ("Peer", "Calling AE title", "From", "May", "Name in its certificate", "Limit of its own")
    if site.settings.dicom.accept_unknown_peers:
        rows.append(("whoever calls", "any", "anywhere", "store", "-", "-"))
    return table("Who may call", heads, rows)


def _or_dash(words: Iterable[str]) -> str:
    return ", ".join(filter(None, words)) or "-"


def _contexts(site: Site) -> Iterator[Block]:
    sets = syntax_sets(site.accepted)
    for name, syntaxes in sets.items():
        ranked = [(place, UID(uid).name, uid) for place, uid in enumerate(syntaxes, start=1)]
        yield table(f"Transfer syntaxes {name}", ("Preference", "Name", "UID"), ranked)
    yield Paragraph(
        "Of the transfer syntaxes that one presentation context proposes, the first in the order of its table is taken."
    )
    names = {syntaxes: name for name, syntaxes in sets.items()}
    rows = [
        (
            UID(one.sop_class_uid).name,
            one.sop_class_uid,
            "SCP, SCU" if one.both_roles else "SCP",
            names[one.transfer_syntaxes],
            "-" if not one.permissions else " or ".join(sorted(one.permissions)),
            listed(site.may(one.permissions)),
        )
        for one in site.accepted
    ]
    heads = ("SOP class", "UID", "Role", "Transfer syntaxes", "Permission", "Accepted from")
    yield table("Accepted presentation contexts", heads, rows)


def syntax_sets(accepted: Sequence[Acceptable]) -> dict[str, tuple[str, ...]]:
    """The different lists of transfer syntaxes, by a letter each; the longest first."""
    different = sorted({one.transfer_syntaxes for one in accepted}, key=lambda one: (-len(one), one))
    return {chr(ord("A") + place): syntaxes for place, syntaxes in enumerate(different)}


def _worklist(site: Site) -> Iterator[Block]:
    dicom = site.settings.dicom
    yield Paragraph(
        f"What is known of orders, and of studies that came without one: those received, changed or scheduled within "
        f"{dicom.worklist_days:g} days, {dicom.worklist_answers} answers to a question at most. Matching is by single "
        "value, wildcard, date and time range, list of UIDs, sequence, and universal matching. Requested Procedure "
        "Priority is the priority as raised. A query that names no character set is answered in UTF-8 where ASCII does "
        f"not do; one in {', '.join(sorted(CHARACTER_SETS))} in that set, where it can write the answer."
    )
    rows = [(keyword, "sequence" if below else "-") for keyword, below in _keys(SHAPE)]
    yield table("Supported keys", ("Attribute", "Kind"), rows)


def _keys(shape: object, above: str = "") -> Iterator[tuple[str, bool]]:
    if isinstance(shape, dict):
        for keyword, below in shape.items():
            yield f"{above}{keyword}", below is not None
            yield from _keys(below, f"{above}{keyword} > ")


def _statuses() -> Iterator[Block]:
    for service, answers in ANSWERS.items():
        rows = [(f"{one.code:04X}", one.category, one.meaning or "-", one.when) for one in answers]
        yield table(service, ("Status", "Category", "The standard's name", "When"), rows)
    yield Paragraph("A request for a SOP class that nobody serves on its context is answered with 0122.")


def general(site: Site) -> Section:
    """What holds for every association (PS3.2, association policies)."""
    server, dicom = site.server, site.settings.dicom
    version = f"TRIAGE_{__version__}"[:16]
    rows = [
        ("Application context name", "1.2.840.10008.3.1.1.1"),
        ("Implementation class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation version name", version),
        ("Associations accepted at the same time", server.max_associations),
        ("Associations asked for at the same time", "one to each peer for each service, as there is something to send"),
        ("Outstanding operations", 1),
        ("Largest PDU received", f"{server.max_pdu_bytes} bytes"),
        ("Largest data set received", f"{server.max_instance_bytes} bytes"),
        ("An association request must come whole within", f"{min(server.request_seconds, server.timeout_seconds):g} s"),
        ("Without a PDU an association is aborted after", f"{server.timeout_seconds:g} s"),
        ("A message slower than this is aborted", f"{dicom.min_bytes_per_second:g} bytes/s"),
    ]
    return Section("Association policies", (table("General", ("Policy", "Value"), rows),))
