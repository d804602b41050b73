"""The conformance statement as a whole (PS3.2): overview, networking, media, character sets, security, annexes."""

from pydicom.uid import UID

from triage_agent import __version__
from triage_agent.conformance.accepting import acceptor, general
from triage_agent.conformance.calling import activities, initiator
from triage_agent.conformance.document import Block, Document, Paragraph, Section, table
from triage_agent.conformance.hl7 import profile
from triage_agent.conformance.objects import codes, instances, kinds
from triage_agent.conformance.site import Site, listed, site_of
from triage_agent.conformance.surroundings import character_sets, configuration, media, network, security
from triage_agent.conformance.web import fhir, web_services
from triage_agent.results.context import MANUFACTURER, PRODUCT
from triage_agent.settings import Settings


def build_statement(settings: Settings) -> Document:
    """The statement of an agent with this configuration.

    Raises:
        ConfigurationError: no agent can be made of it.
    """
    site = site_of(settings)
    where = f" at {settings.institution}" if settings.institution else ""
    return Document(
        title=f"DICOM conformance statement of {PRODUCT} {__version__}{where}",
        blocks=(
            Paragraph(
                f"{PRODUCT} {__version__} ({MANUFACTURER}), application entity {settings.dicom.ae_title}. Generated "
                "from the configuration of this installation and from the tables that the running agent uses itself; "
                "it holds for this version and this configuration."
            ),
        ),
        sections=(
            Section("Overview", (Paragraph(_OVERVIEW), services(site), kinds(site), _interfaces(site))),
            _introduction(),
            _networking(site),
            web_services(site),
            media(),
            character_sets(),
            security(site),
            profile(site),
            fhir(site),
            instances(),
            codes(),
        ),
    )


_OVERVIEW = (
    "A PACS sends studies by C-STORE. The agent keeps them, scores musculoskeletal radiographs, and sends reports, "
    "workitems and messages back that raise the priority of what should be read next. No priority is ever lowered, no "
    "received object is changed, and every result says that it is preliminary and that a machine made it."
)


def services(site: Site) -> Block:
    """The SOP classes with the roles in which they are supported; storage is one row here, and whole further below."""
    storage = {one.sop_class_uid for one in site.accepted if one.permissions == {"store"}}
    used = _used(site)
    to = dict.fromkeys(peer for uid in used.keys() & storage for peer in used[uid])
    rows = [(f"Storage, {len(storage)} SOP classes", "yes", "yes", listed(to), listed(site.may(frozenset({"store"}))))]
    provided = {one.sop_class_uid: listed(site.may(one.permissions)) for one in site.accepted}
    for uid in sorted({*provided, *used} - storage):
        row = (
            UID(uid).name,
            _yes(uid in used),
            _yes(uid in provided),
            listed(used.get(uid, ())),
            provided.get(uid, "-"),
        )
        rows.append(row)
    heads = ("SOP class", "User (SCU)", "Provider (SCP)", "Used with, here", "Provided to, here")
    return table("DICOM network services", heads, rows)


def _used(site: Site) -> dict[str, list[str]]:
    """The SOP classes that we are the user of, each with the peers that this site has for it."""
    used: dict[str, list[str]] = {}
    for activity in activities(site):
        for proposal in activity.proposals:
            if not proposal.provider:
                for abstract in dict(proposal.contexts):
                    peers = used.setdefault(str(abstract), [])
                    peers += [peer for peer in activity.peers if peer not in peers]
    return used


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _interfaces(site: Site) -> Block:
    settings = site.settings
    on = [one for one in site.resources if one.on]
    rows = [
        ("DICOMweb, origin server", f"{len(on)} resources" if on else "off"),
        ("DICOMweb, user agent (STOW-RS)", listed(peer.name for peer in settings.dicomweb.peers)),
        ("HL7 v2, sender", listed(peer.name for peer in settings.hl7.peers)),
        ("HL7 v2, receiver", "on" if settings.hl7.listen else "off"),
        ("HL7 FHIR R4, client", listed(peer.name for peer in settings.fhir.peers)),
        ("Media interchange", "not supported"),
    ]
    return table("Other interfaces", ("Interface", "Here"), rows)


def _introduction() -> Section:
    abbreviations = [
        ("AE", "application entity"),
        ("IOD", "information object definition"),
        ("MLLP", "minimal lower layer protocol (HL7)"),
        ("SCP, SCU", "service class provider, service class user"),
        ("SOP", "service-object pair"),
        ("UPS", "unified procedure step, a workitem"),
    ]
    return Section(
        "Introduction",
        (
            Paragraph(
                "For whoever connects this agent with a PACS, a RIS or a worklist manager, and knows DICOM and HL7. "
                "That two statements agree is no proof that two systems work together; a test of both is needed. The "
                "layout is that of DICOM PS3.2: overview, networking, media, character sets, security, and objects."
            ),
            table("Abbreviations", ("Term", "Meaning"), abbreviations),
        ),
    )


def _networking(site: Site) -> Section:
    model = Section(
        "Implementation model",
        (
            Paragraph(
                f"One application entity, {site.settings.dicom.ae_title}, both accepts and asks for associations. "
                "Received instances go to a spool on disk and a database; workers score them as they come; a decision "
                "makes results, which stand in an outbox until their destination has taken them."
            ),
            Paragraph(
                "Sequence: images arrive (C-STORE, or STOW-RS); an image that looks abnormal raises its study at once; "
                "when no image comes any more, or the PACS says that all are here, the study is decided, and its "
                "results are sent by the routes of the site; an image that comes later makes a new revision, whose "
                "report names the earlier one as its predecessor."
            ),
        ),
    )
    entity = Section("Application entity", (), (general(site), acceptor(site), initiator(site)))
    return Section("Networking", (), (model, entity, network(site), configuration(site)))
