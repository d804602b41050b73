"""What is spoken over HTTP: DICOMweb both ways (PS3.18), and FHIR."""

import json
import re
from collections.abc import Iterator

from triage_agent.conformance.document import Block, Paragraph, Section, table
from triage_agent.conformance.site import Site, listed
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.results.examples import example_artifact

_ROOT = "/dicom-web"
_INSTANCE = r"/studies(/\{\}(/series/\{\}(/instances/\{\})?)?)?"
# PS3.18 tables 10.1-1 (Studies) and 11.1-1 (Workitems): method, path without names, service and transaction.
_TRANSACTIONS = (
    ("POST", r"/studies(/\{\})?", "Studies", "Store (STOW-RS)"),
    ("GET", r"/studies|(/studies/\{\})?(/series(/\{\})?)?(/instances)?", "Studies", "Search (QIDO-RS)"),
    ("GET", rf"{_INSTANCE}/metadata", "Studies", "Retrieve metadata (WADO-RS)"),
    ("GET", rf"{_INSTANCE}(/rendered|/thumbnail|/frames/\{{\}}|/bulkdata)", "Studies", "Retrieve (WADO-RS)"),
    ("POST", r"/workitems(/\{\})?", "Workitems", "Create, or update (UPS-RS)"),
    ("PUT", r"/workitems/\{\}/state", "Workitems", "Change state (UPS-RS)"),
    ("POST|PUT", r"/workitems/\{\}", "Workitems", "Update (UPS-RS)"),
    ("POST", r"/workitems/\{\}/cancelrequest", "Workitems", "Request cancellation (UPS-RS)"),
    ("GET", r"/workitems", "Workitems", "Search (UPS-RS)"),
    ("GET", r"/workitems/\{\}", "Workitems", "Retrieve (UPS-RS)"),
    ("POST|DELETE", r"/workitems/\{\}/subscribers/\{\}", "Workitems", "Subscribe, unsubscribe (UPS-RS)"),
    ("POST", r"/workitems/\{\}/subscribers/\{\}/suspend", "Workitems", "Suspend a subscription (UPS-RS)"),
    ("WebSocket|GET", r"/(ws/)?(subscribers|eventreports?|notifications)?(/\{\})?", "Workitems", "Events (UPS-RS)"),
    ("GET|OPTIONS", r"/(capabilities|conformance)?", "Capabilities", "Retrieve capabilities"),
)


def web_services(site: Site) -> Section:
    """DICOMweb: as origin server and as user agent."""
    web = site.settings.web
    rows = [
        (one.method, one.path, *transaction(one.method, one.path), "yes" if one.on else "no")
        for one in site.resources
        if one.path.startswith(_ROOT)
    ]
    tokens = [(one.name, listed(one.may)) for one in web.tokens]
    known = "the TLS certificate" if web.tls is not None and web.tls.ca is not None else "nothing else"
    peers = [
        (peer.name, peer.url, listed(_sent(site, peer.name)), _credentials(peer.token, peer.user, peer.certificate))
        for peer in site.settings.dicomweb.peers
    ]
    return Section(
        "DICOMweb",
        (
            Paragraph(
                f"Origin server at {web.host}:{web.port}, {'by TLS' if web.tls else 'without TLS'}. Media types: "
                "multipart/related with application/dicom for instances, application/dicom+json for everything else. "
                "Instances that come in are kept as over DIMSE, and are as durable before they are answered for. "
                "Searches and retrievals are for the agent's own results only, of a study or an accession number that "
                "is named; wildcards, fuzzy matching and rendering are not supported."
            ),
            table("Resources", ("Method", "Path", "Service", "Transaction (PS3.18)", "On here"), rows),
            table(f"Callers, known by a bearer token and by {known}", ("Caller", "May"), tokens),
            table("User agent: servers that results are sent to by STOW-RS", _PEER_HEADS, peers),
        ),
    )


_PEER_HEADS = ("Peer", "URL", "Kinds", "Known to it by")


def transaction(method: str, path: str) -> tuple[str, str]:
    """Service and transaction of PS3.18 that a resource belongs to; the last ones where it has no other name."""
    bare = re.sub(r"\{[^}]*\}", "{}", path.removeprefix(_ROOT))
    for methods, pattern, service, name in _TRANSACTIONS:
        if re.fullmatch(methods, method) and re.fullmatch(pattern, bare):
            if name == "Search (QIDO-RS)" and bare.endswith("{}"):
                return service, "Retrieve (WADO-RS)"
            return service, name
    if method == "GET" and re.fullmatch(_INSTANCE, bare):
        return "Studies", "Retrieve (WADO-RS)"
    return "the agent's own", "no transaction of the standard"


def _sent(site: Site, name: str) -> list[str]:
    return [kind.value for route in site.routes if route.to == name for kind in route.send]


def _credentials(token: str, user: str, certificate: object) -> str:
    """By what kind of thing we are known; never the thing itself."""
    said = [("a bearer token", token), ("user and password", user), ("a client certificate", certificate)]
    return " and ".join(name for name, given in said if given) or "nothing"


def fhir(site: Site) -> Section:
    """FHIR R4 as a client."""
    peers = [
        (peer.name, peer.url, listed(_sent(site, peer.name)), _credentials(peer.token, peer.user, peer.certificate))
        for peer in site.settings.fhir.peers
    ]
    kinds = [kind for kind in ArtifactKind if kind.family is Family.FHIR_RESOURCE]
    return Section(
        "HL7 FHIR",
        (
            Paragraph(
                "Client of FHIR R4 servers (JSON). What the server has is searched for by identifier first; results "
                "are one transaction of conditional updates, so that a repetition changes nothing."
            ),
            table("Servers", _PEER_HEADS, peers),
            *(block for kind in kinds for block in _transaction(kind)),
        ),
    )


def _transaction(kind: ArtifactKind) -> Iterator[Block]:
    made = example_artifact(kind)
    entries = json.loads(made.body)["entry"] if made is not None else []
    rows = [
        (
            entry["request"]["method"],
            entry["resource"]["resourceType"],
            entry["resource"].get("status", "-"),
            listed(sorted(entry["resource"])),
        )
        for entry in entries
    ]
    yield table(f"The transaction of an example ({kind.value})", ("Method", "Resource", "Status", "Elements"), rows)
