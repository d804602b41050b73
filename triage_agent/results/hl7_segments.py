"""What all HL7 v2 messages have in common: header, patient, notes, priority, and how a message is written.

Fields are escaped (chapter 2.7) and text is in the character set that MSH-18 says; what it cannot write becomes a
question mark. Who is meant and which order comes from the images' headers, since nobody else is asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType

from pydicom import Dataset
from pydicom.sr.coding import Code

from triage_agent.domain.decision import Artifact, Flag
from triage_agent.domain.hl7_form import Hl7Acknowledgement
from triage_agent.domain.quiet import quiet
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority
from triage_agent.results import codes as concepts
from triage_agent.results import header
from triage_agent.results.context import PRODUCT, ResultContext
from triage_agent.results.hl7_fields import applied, filled
from triage_agent.results.hl7_versions import CODECS, VERSIONS, VersionFacts
from triage_agent.results.summary import DISCLAIMER, headline, warnings_of, who_reads

_CONTROL_ID_LENGTH = 20  # MSH-10
_LONGEST_VALUE = 250  # characters; a header can hold gigabytes, and sites' numbers are longer than DICOM allows
# Chapter 2.7.1; one pass over the text, so that no escape is escaped again.
_ESCAPES = str.maketrans(
    {
        "\\": "\\E\\",
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\r": "\\X0D\\",
        "\n": "\\X0A\\",
    }
)
_NAME_REPRESENTATIONS = ("A", "I", "P")  # table 0465: alphabetic, ideographic, phonetic, as in PS3.5 section 6.2.1

# Table 0485, for TQ1-9 and for the priority in Quantity/Timing.
PRIORITIES: Mapping[Priority, tuple[str, str]] = MappingProxyType(
    {Priority.ROUTINE: ("R", "Routine"), Priority.URGENT: ("A", "ASAP"), Priority.STAT: ("S", "Stat")}
)

# MSH-15 and MSH-16, table 0155; without them the original mode holds (chapter 2.9).
_ACKNOWLEDGED: Mapping[Hl7Acknowledgement, Mapping[int, str]] = MappingProxyType(
    {"original": {}, "accept": {15: "AL", 16: "NE"}, "application": {15: "AL", 16: "AL"}}
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment by its fields' numbers, already escaped; `label` is an observation's name for a site's template."""

    name: str
    fields: Mapping[int, str]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What the headers say of the order, escaped; the accession number stands for a filler order number not stated."""

    accession: str
    placer: str
    filler: str
    requested_procedure: str
    scheduled_step: str


def escape(text: str) -> str:
    """Text as it may stand within a component; line ends become their hexadecimal escapes, other controls blanks."""
    escaped = text.translate(_ESCAPES)
    return "".join(character if character.isprintable() else " " for character in escaped)


def stated(headers: Sequence[Dataset], keyword: str) -> str:
    """The first value of an element among headers, escaped; empty, not cut, where it is longer than anybody's."""
    text = header.first_text(headers, keyword)
    return escape(text) if len(text) <= _LONGEST_VALUE else ""


def control_id(uid: str) -> str:
    """What MSH-10 has room for of a message's identity: the acknowledgement repeats it."""
    return sha256(uid.encode()).hexdigest()[:_CONTROL_ID_LENGTH].upper()


def message_uid(kind: ArtifactKind, context: ResultContext) -> str:
    """A message's UID: in a form of a destination's own it is another object than in the usual one."""
    return context.uid(f"{kind.value}{context.form.key}")


def facts_of(context: ResultContext) -> VersionFacts:
    """What the destination's version of HL7 has."""
    return VERSIONS[context.form.version]


def message(
    kind: ArtifactKind, event: tuple[str, str, str], context: ResultContext, body: Iterable[Segment]
) -> Artifact:
    """Header, patient and `body` as a message with CR between segments; `event` is the three components of MSH-9."""
    uid, facts = message_uid(kind, context), facts_of(context)
    own = filled(context.form, named_values(context))
    visit = [Segment("PV1", {1: "1"})] if any(target.segment == "PV1" for target, _ in own) else []
    lines = []
    for segment in [_msh(event, context, uid), _pid(context), *visit, *body]:
        fields = applied(segment.name, segment.label, segment.fields, own)
        last = facts.longest[segment.name]
        lines.append(_written(segment.name, {number: text for number, text in fields.items() if number <= last}))
    text = "".join(f"{line}\r" for line in lines)
    encoded = text.encode(CODECS[context.form.charset], errors="replace")
    return Artifact(kind=kind, uid=uid, body=encoded, summary=headline(context.result))


def _written(name: str, fields: Mapping[int, str]) -> str:
    """A segment from its fields by number; the others are empty."""
    first = 2 if name == "MSH" else 1  # MSH-1 is the separator itself
    return "|".join([name, *(fields.get(number, "") for number in range(first, max(fields) + 1))])


def _msh(event: tuple[str, str, str], context: ResultContext, uid: str) -> Segment:
    form, facts = context.form, facts_of(context)
    named = {
        3: form.sending_application or escape(PRODUCT),
        4: form.sending_facility or escape(context.institution),
        5: form.receiving_application,
        6: form.receiving_facility,
    }
    fields = {
        2: "^~\\&",
        **{number: name for number, name in named.items() if name},
        7: made_at(context),
        9: "^".join(event if facts.names_structure else event[:2]),
        10: control_id(uid),
        11: "P",
        12: form.version,
        **_ACKNOWLEDGED[form.acknowledgement],
        18: form.charset,
    }
    return Segment("MSH", fields)


def _pid(context: ResultContext) -> Segment:
    patient = header.patient_of(context.headers)
    patient_id, issuer = stated([patient], "PatientID"), stated([patient], "IssuerOfPatientID")
    sex = header.text_of(patient, "PatientSex").upper()
    return Segment(
        "PID",
        {
            1: "1",
            3: f"{patient_id}^^^{issuer}".rstrip("^"),
            5: _names(header.person_name(header.text_of(patient, "PatientName"))),
            7: header.date(header.text_of(patient, "PatientBirthDate")),
            8: sex if sex in {"M", "F", "O"} else "",
        },
    )


def _names(dicom: str) -> str:
    """XPN repetitions of a PN: DICOM has prefix before suffix, HL7 suffix before prefix."""
    repetitions = []
    for group, representation in zip(dicom.split("="), _NAME_REPRESENTATIONS, strict=False):
        if group:
            family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
            parts = (family, given, middle, suffix, prefix, "", "L", representation)
            repetitions.append("^".join(escape(part.strip()) for part in parts))
    return "~".join(repetitions)


def notes(context: ResultContext, *more: str) -> Iterator[Segment]:
    """NTE: what every output says of itself, and the reasons."""
    said = [DISCLAIMER, *warnings_of(context.model), *who_reads(context.result), *context.result.reasons, *more]
    for number, note in enumerate(said, start=1):
        yield Segment("NTE", {1: str(number), 3: escape(note)})


def priority_segments(context: ResultContext) -> list[Segment]:
    """TQ1, where the version has it."""
    code, meaning = PRIORITIES[context.result.priority]
    return [Segment("TQ1", {1: "1", 9: f"{code}^{meaning}^HL70485"})] if facts_of(context).has_tq1 else []


def quantity_timing(context: ResultContext) -> str:
    """The priority as versions before 2.5 have it, in ORC-7 and OBR-27: the sixth component (chapter 4.3)."""
    return f"^^^^^{PRIORITIES[context.result.priority][0]}"


def order_of(context: ResultContext) -> Order:
    """The order's identifiers as far as the headers state them."""
    accession = stated(context.headers, "AccessionNumber")
    return Order(
        accession=accession,
        placer=_of_request(context.headers, "PlacerOrderNumberImagingServiceRequest"),
        filler=_of_request(context.headers, "FillerOrderNumberImagingServiceRequest") or accession,
        requested_procedure=_of_request(context.headers, "RequestedProcedureID"),
        scheduled_step=_of_request(context.headers, "ScheduledProcedureStepID"),
    )


def _of_request(headers: Iterable[Dataset], keyword: str) -> str:
    """The first value stated, in the Request Attributes Sequence (PS3.3 section C.7.3.1) or beside it."""
    for one in headers:
        for place in (*_requests(one), one):
            if text := stated([place], keyword):
                return text
    return ""


def _requests(one: Dataset) -> list[Dataset]:
    try:
        with quiet():
            found = one.get("RequestAttributesSequence") or []
            return [item for item in found if isinstance(item, Dataset)]
    except Exception:  # noqa: BLE001 - any fault of a foreign header means: not known
        return []


def named_values(context: ResultContext) -> dict[str, str]:
    """What a template may name (`hl7_fields.NAMES`), escaped."""
    result, order = context.result, order_of(context)
    patient = header.patient_of(context.headers)
    values = {
        "study_uid": result.study_instance_uid,
        "institution": context.institution,
        "finding": finding_of(context).value,
        "probability": "" if result.probability is None else f"{result.probability:.4f}",
        "priority": result.priority.value,
        "category": result.acr_category or "",
        "rule": result.rule,
        "stage": stage_of(context),
        "bundle": result.model.label,
        "region": result.anatomy or "",
        "summary": headline(result),
    }
    return {name: escape(value) for name, value in values.items()} | {
        "study_description": stated(context.headers, "StudyDescription"),
        "modality": stated(context.headers, "Modality"),
        "patient_id": stated([patient], "PatientID"),
        "issuer": stated([patient], "IssuerOfPatientID"),
        "accession": order.accession,
        "placer_order": order.placer,
        "filler_order": order.filler,
        "requested_procedure": order.requested_procedure,
        "scheduled_step": order.scheduled_step,
    }


def finding_of(context: ResultContext) -> Finding:
    """A flag is raised for what looks abnormal."""
    return Finding.ABNORMAL if isinstance(context.result, Flag) else context.result.finding


def stage_of(context: ResultContext) -> str:
    """Whether more will follow."""
    return "provisional" if isinstance(context.result, Flag) else "decision"


def coded(code: Code) -> str:
    """A code as the first three components of CE and CWE."""
    return "^".join(escape(part) for part in (code.value, code.meaning, code.scheme_designator))


def of_site(code: str, meaning: str) -> str:
    """A code of our own."""
    return f"{code}^{meaning}^{concepts.SITE_SCHEME}"


def local(context: ResultContext) -> datetime:
    """When the result was made, in the source's zone."""
    return context.made_at.astimezone(header.utc_offset(context.headers) or context.timezone)


def made_at(context: ResultContext) -> str:
    """TS with seconds and offset, so that no receiver has to guess the zone."""
    return f"{local(context):%Y%m%d%H%M%S%z}"
