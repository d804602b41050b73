"""The HL7 v2 profile: messages out as each destination gets them, messages in as they are read and answered."""

from collections.abc import Iterator, Sequence

from triage_agent.conformance.document import Block, Example, Paragraph, Section, table
from triage_agent.conformance.hl7_names import named
from triage_agent.conformance.site import Site, listed
from triage_agent.domain.decision import Route
from triage_agent.domain.hl7_form import USUAL_FORM, Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, Family, Priority
from triage_agent.hl7in.acknowledgement import ERRORS
from triage_agent.hl7in.desk import MERGES, ORDERS, UPDATES
from triage_agent.hl7in.listener import LONGEST
from triage_agent.hl7in.message import CODECS as READ
from triage_agent.hl7in.orders import PRIORITIES as READ_PRIORITIES
from triage_agent.hl7in.patients import Reading
from triage_agent.hl7in.places import of_order, of_patient
from triage_agent.results.hl7_example import example_message
from triage_agent.results.hl7_segments import PRIORITIES
from triage_agent.results.hl7_versions import CODECS, VERSIONS
from triage_agent.sections.hl7_listen import Hl7ListenSettings

_KINDS = tuple(kind for kind in ArtifactKind if kind.family is Family.HL7_MESSAGE)
_ASKED = {
    "original": "original: MSH-15 and MSH-16 empty; AA is waited for",
    "accept": "enhanced: MSH-15 AL, MSH-16 NE; CA is waited for",
    "application": "enhanced: MSH-15 AL, MSH-16 AL; CA and then AA are waited for",
}
_USUAL = "(no peer: as by default)"


def profile(site: Site) -> Section:
    """Everything about HL7 v2."""
    return Section(
        "HL7 v2 profile",
        (
            Paragraph(
                "Messages go over MLLP (0B, message, 1C 0D), one at a time on a connection that is kept, in order "
                "within a study. Segments end with CR; the delimiters that are sent are |^~\\&, and those that a "
                "message states in MSH-1 and MSH-2 are read."
            ),
        ),
        (_out(site), _in(site)),
    )


def _out(site: Site) -> Section:
    versions = [
        (version, listed(sorted(facts.kinds)), "TQ1-9" if facts.has_tq1 else "OBR-27.6", facts.coded)
        for version, facts in VERSIONS.items()
    ]
    rows = [(meaning, *code) for meaning, code in PRIORITIES.items()]
    forms = list(_forms(site))
    return Section(
        "Messages that are sent",
        (
            _destinations(site),
            table("Versions", ("MSH-12", "Messages", "Priority (ORU and OMI)", "Coded observations"), versions),
            table("Priorities (table 0485)", ("Priority", "Code", "Text"), rows),
            Paragraph(f"Character sets (MSH-18): {', '.join(CODECS)}. What one cannot write becomes a question mark."),
            Paragraph(_ANSWERS),
        ),
        tuple(Section(f"{kind.value} to {to}", tuple(_message(site, kind, form))) for to, kind, form in forms),
    )


_ANSWERS = (
    "An answer counts whose MSA-2 is the message's MSH-10. AA and CA: the message was taken. AE and CE, no answer in "
    "time, or a broken connection: it is sent again, with the same MSH-10. AR and CR: it is not sent again until an "
    "admin says so."
)


def _destinations(site: Site) -> Block:
    rows = [
        (
            peer.name,
            f"{peer.host}:{peer.port}",
            "yes" if peer.tls else "no",
            peer.version,
            peer.charset,
            _ASKED[peer.acknowledgement],
            f"{peer.timeout_seconds:g} s",
            peer.result_status,
        )
        for peer in site.settings.hl7.peers
    ]
    heads = ("Peer", "Address", "TLS", "Version", "Character set", "Acknowledgement", "Waits", "OBX-11 of results")
    return table("Destinations", heads, rows)


def _forms(site: Site) -> Iterator[tuple[str, ArtifactKind, Hl7Form]]:
    """Each kind in each form that it is sent in; a kind that goes nowhere as a peer without settings would get it."""
    for kind in _KINDS:
        routes: Sequence[Route] = [route for route in site.routes if kind in route.send]
        for route in routes:
            yield route.to, kind, route.form_of(kind)
        if not routes:
            yield _USUAL, kind, USUAL_FORM


def _message(site: Site, kind: ArtifactKind, form: Hl7Form) -> Iterator[Block]:
    lines = example_message((kind, form), site.settings.institution)
    used: dict[str, set[int]] = {}
    for line in lines:
        segment, *fields = line.split("|")
        first = 2 if segment == "MSH" else 1  # MSH-1 is the separator itself
        found = {number for number, field in enumerate(fields, start=first) if field}
        used.setdefault(segment, {1} if segment == "MSH" else set()).update(found)
    rows = [(segment, named(segment, tuple(sorted(fields)))) for segment, fields in used.items()]
    yield table("Segments and fields", ("Segment", "Fields with a value in the example"), rows)
    yield Example("An example, of a study that does not exist", tuple(lines))


def _listening(listen: Hl7ListenSettings | None) -> str:
    """Where, from whom and within what limits."""
    if listen is None:
        return "This site listens for no messages ([hl7.listen] is absent). With it, the following holds."
    whom = listed([*listen.peers, *map(str, listen.networks)])
    tls = "by TLS" if listen.tls else "without TLS"
    return (
        f"Listened for at {listen.host}:{listen.port}, {tls}, from {whom}; {listen.max_connections} connections "
        f"at most, {listen.timeout_seconds:g} s for a message to come whole, {LONGEST} bytes at most; MSH-11 must "
        f"be {listen.processing_id.upper()}. A message without MSH-18 that is not UTF-8 is read as "
        f"{listen.unstated_charset}."
    )


def _in(site: Site) -> Section:
    listen = site.settings.hl7.listen
    reading = Reading(accession=listen.accession_place if listen else None)
    rows = [
        *((f"{kind}^{event}", "an order, made, changed or cancelled") for kind, event in sorted(ORDERS)),
        *((f"ADT^{event}", "patient and visit are brought up to date") for event in sorted(UPDATES)),
        *((f"ADT^{event}", "two patients are one from now on") for event in sorted(MERGES)),
        ("ADT of other events", "acknowledged, and nothing is done"),
        ("ACK", "not answered"),
        ("anything else", "refused: AR, 200 or 201"),
    ]
    places = [
        *(("order", one, named(one, fields)) for one, fields in of_order(reading).items() if fields),
        *(("ADT", one, named(one, fields)) for one, fields in of_patient(reading).items() if fields),
    ]
    words = [(priority.value, ", ".join(_words(priority))) for priority in Priority]
    return Section(
        "Messages that are received",
        (
            Paragraph(_listening(listen)),
            table("Messages (MSH-9)", ("Message", "What is done"), rows),
            table("Fields that are read", ("Of", "Segment", "Fields"), places),
            table("Words for a priority", ("Priority", "Words"), words),
            Paragraph(
                "A site's own words ([study] priority_words) go before these. Timing critical (TM5, TH2) is routine; "
                "other words ask for nothing."
            ),
            *_acknowledged(),
            Paragraph(f"Character sets (MSH-18) that are read: {', '.join(READ)}."),
        ),
    )


def _words(priority: Priority) -> list[str]:
    return [word for word, meant in READ_PRIORITIES.items() if meant is priority]


def _acknowledged() -> Iterator[Block]:
    rows = [
        ("AA (CA)", "the message was taken, and what it says is durable"),
        ("AE (CE)", "the database is away: send it again"),
        ("AR (CR)", "it can never be taken: ERR says why"),
    ]
    yield Paragraph(
        "The mode follows MSH-15 and MSH-16 of the message: the original mode where both are empty, else the enhanced "
        "one. The answer has the message's version, delimiters and character set."
    )
    yield table("Acknowledgement codes (MSA-1, table 0008)", ("Code", "When"), rows)
    errors = sorted(ERRORS.items())
    yield table("Errors (ERR-3, before 2.5 ERR-1; table 0357)", ("Code", "Text"), errors)
