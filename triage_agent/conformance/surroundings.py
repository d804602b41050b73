"""What surrounds the services: network, configuration, media, character sets, security (PS3.2)."""

import re

from pydicom.charset import python_encoding

from triage_agent.conformance.document import Paragraph, Section, table
from triage_agent.conformance.site import Site
from triage_agent.dimse.tls import SUITES

_TERM = re.compile("ISO_IR [0-9]+|ISO 2022 IR [0-9]+|GB18030|GBK")  # of those that the library reads, the standard's


def network(site: Site) -> Section:
    """Where this site's agent listens."""
    dicom, web, listen = site.settings.dicom, site.settings.web, site.settings.hl7.listen
    rows = [("DICOM", dicom.host, dicom.port, "-")] if dicom.plain else []
    if dicom.tls is not None:
        rows.append(("DICOM", dicom.host, dicom.tls.port, "TLS"))
    if listen is not None:
        rows.append(("HL7 v2 (MLLP)", listen.host, listen.port, "TLS" if listen.tls else "-"))
    rows.append(("HTTP (health, metrics, DICOMweb)", web.host, web.port, "TLS" if web.tls else "-"))
    return Section(
        "Network interfaces",
        (
            Paragraph(
                "TCP/IP (PS3.8), IPv4 and IPv6 as the operating system has them. A name is looked up by its resolver."
            ),
            table("Listened on", ("Service", "Address", "Port", "Security"), rows),
        ),
    )


def configuration(site: Site) -> Section:
    """What of this an admin can change."""
    settings = site.settings
    rows = [
        ("AE title", "[dicom] ae_title", settings.dicom.ae_title),
        ("Port", "[dicom] port", settings.dicom.port),
        ("Unknown callers may store", "[dicom] accept_unknown_peers", _yes(settings.dicom.accept_unknown_peers)),
        (
            "Conflicting instances are answered with a warning",
            "[dicom] warn_on_conflict",
            _yes(settings.dicom.warn_on_conflict),
        ),
        ("A study is complete after", "[study] quiet_seconds", f"{settings.study.quiet_seconds:g} s without an image"),
        ("... and at the latest after", "[study] max_wait_seconds", f"{settings.study.max_wait_seconds:g} s"),
        (
            "Results are sent again for",
            "[delivery] give_up_after_hours",
            f"{settings.delivery.give_up_after_hours:g} h",
        ),
        ("Instances are kept for", "[storage] retention_days", f"{settings.storage.retention_days} days (0: for ever)"),
        ("Institution Name (0008,0080) of results", "institution", settings.institution or "-"),
    ]
    return Section(
        "Configuration",
        (
            Paragraph(
                "Peers, with AE titles, addresses and permissions, are [[dicom.peers]]; agent.toml explains all keys."
            ),
            table("Parameters", ("Parameter", "Key", "Value here"), rows),
        ),
    )


def media() -> Section:
    """Media."""
    return Section("Media interchange", (Paragraph("Media storage is not supported: no DICOMDIR is read or written."),))


def character_sets() -> Section:
    """PS3.5 section 6.1, and what HL7 has, which its own chapter tells."""
    terms = sorted(filter(_TERM.fullmatch, python_encoding))
    return Section(
        "Support of character sets",
        (
            Paragraph(
                "Every object that is made is in UTF-8 (ISO_IR 192). Received instances keep theirs. Read are, with "
                f"and without code extensions: the default repertoire, {', '.join(terms)}. A header whose text does "
                "not fit its character set is read as far as it can be, and no study is lost by it."
            ),
        ),
    )


def security(site: Site) -> Section:
    """PS3.15."""
    settings = site.settings
    tls = settings.dicom.tls
    if tls is None:
        here = "This site has no [dicom.tls]: DICOM is spoken without TLS."
    else:
        wanted = "must" if tls.require_client_certificate else "need not"
        plain = "also without TLS" if settings.dicom.plain else "by TLS alone"
        here = f"Listened for by TLS on port {tls.port}; callers {wanted} have a certificate; DICOM is spoken {plain}."
    rows = [("TLS 1.2", suite) for suite in SUITES] + [("TLS 1.3", "those of the library (AEAD only)")]
    receiver = str(settings.audit.syslog)
    audit = f"sent to {receiver}" if receiver else "kept in the database, and sent nowhere"
    return Section(
        "Security",
        (
            Paragraph(here),
            Paragraph(
                "The profile is the BCP 195 RFC 9325 TLS Secure Transport Connection Profile (PS3.15 annex B.12): no "
                "compression, no renegotiation, no session tickets. A peer may be tied to a name in its certificate."
            ),
            table("Protocols and cipher suites", ("Protocol", "Cipher suite"), rows),
            Paragraph(
                "Association level: calling AE title and address together are checked, and the called AE title; there "
                "is no user identity negotiation. Digital signatures and de-identification profiles are not supported."
            ),
            Paragraph(
                "Audit: what is received, decided, sent, retrieved, refused and changed is recorded with who and when. "
                f"Audit events of this site are {audit}."
            ),
        ),
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
