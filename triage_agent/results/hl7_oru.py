"""A result as an unsolicited observation, ORU^R01^ORU_R01 of HL7 v2.5.1, for worklists that take results as input.

Text is UTF-8, as MSH-18 says; fields are escaped (chapter 2.7). Everything is preliminary: OBX-11 and OBR-25 are P.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType

from pydicom.sr.coding import Code

from triage_agent.domain.decision import Artifact, Decision, Flag
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority
from triage_agent.results import codes as concepts
from triage_agent.results import header
from triage_agent.results.context import PRODUCT, ResultContext
from triage_agent.results.summary import DISCLAIMER, FINDINGS, headline, warnings_of, who_reads

_CONTROL_ID_LENGTH = 20  # MSH-10
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

# Table 0485, for TQ1-9.
_PRIORITIES: Mapping[Priority, tuple[str, str]] = MappingProxyType(
    {Priority.ROUTINE: ("R", "Routine"), Priority.URGENT: ("A", "ASAP"), Priority.STAT: ("S", "Stat")}
)


def build_oru(context: ResultContext) -> Artifact:
    """The message of a decision, or of a flag that came before it, with CR between segments."""
    uid = context.uid(ArtifactKind.HL7_ORU.value)
    segments = [_msh(context, uid), _pid(context), _obr(context, uid), *_nte(context), _tq1(context), *_obx(context)]
    return Artifact(
        kind=ArtifactKind.HL7_ORU,
        uid=uid,
        body="".join(f"{segment}\r" for segment in segments).encode(),
        summary=headline(context.result),
    )


def escape(text: str) -> str:
    """Text as it may stand within a component; line ends become their hexadecimal escapes, other controls blanks."""
    escaped = text.translate(_ESCAPES)
    return "".join(character if character.isprintable() else " " for character in escaped)


def control_id(uid: str) -> str:
    """What MSH-10 has room for of a message's identity: the acknowledgement repeats it."""
    return sha256(uid.encode()).hexdigest()[:_CONTROL_ID_LENGTH].upper()


def _segment(name: str, fields: Mapping[int, str]) -> str:
    """A segment from its fields by number; the others are empty."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def _msh(context: ResultContext, uid: str) -> str:
    # MSH-1 is the separator itself, so that field n stands at n - 1.
    fields = {
        2: "^~\\&",
        3: escape(PRODUCT),
        4: escape(context.institution),
        7: _timestamp(_local(context)),
        9: "ORU^R01^ORU_R01",
        10: control_id(uid),
        11: "P",
        12: "2.5.1",
        18: "UNICODE UTF-8",
    }
    return _segment("MSH", {number - 1: value for number, value in fields.items()})


def _pid(context: ResultContext) -> str:
    patient = header.patient_of(context.headers)
    patient_id = header.text_of(patient, "PatientID")
    issuer = header.text_of(patient, "IssuerOfPatientID")
    sex = header.text_of(patient, "PatientSex").upper()
    return _segment(
        "PID",
        {
            1: "1",
            3: f"{escape(patient_id)}^^^{escape(issuer)}".rstrip("^"),
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


def _obr(context: ResultContext, uid: str) -> str:
    accession = escape(header.first_text(context.headers, "AccessionNumber"))
    study_date = header.date(header.first_text(context.headers, "StudyDate"))
    study_time = header.time(header.first_text(context.headers, "StudyTime"))
    return _segment(
        "OBR",
        {
            1: "1",
            3: accession,
            4: _coded(concepts.IMAGING_PROCEDURE),
            7: study_date + study_time if study_date else "",
            18: accession,
            20: context.result.study_instance_uid,
            21: uid,
            22: _timestamp(_local(context)),
            24: "RAD",
            25: "P",
        },
    )


def _nte(context: ResultContext) -> Iterator[str]:
    notes = [DISCLAIMER, *warnings_of(context.model), *who_reads(context.result), *context.result.reasons]
    for number, note in enumerate(notes, start=1):
        yield _segment("NTE", {1: str(number), 3: escape(note)})


def _tq1(context: ResultContext) -> str:
    code, meaning = _PRIORITIES[context.result.priority]
    return _segment("TQ1", {1: "1", 9: f"{code}^{meaning}^HL70485"})


def _obx(context: ResultContext) -> Iterator[str]:
    made_at = _timestamp(_local(context))
    for number, (value_type, name, value, flag) in enumerate(_observations(context), start=1):
        yield _segment(
            "OBX",
            {
                1: str(number),
                2: value_type,
                3: name,
                5: value,
                8: flag,
                11: "P",
                14: made_at,
                18: context.device_uid,
            },
        )


def _observations(context: ResultContext) -> Sequence[tuple[str, str, str, str]]:
    """Value type, identifier, value and abnormal flag of each OBX, coded as in the structured report."""
    result = context.result
    finding = Finding.ABNORMAL if isinstance(result, Flag) else result.finding
    code, meaning = _PRIORITIES[result.priority]
    stage = "provisional" if isinstance(result, Flag) else "decision"
    said = f"{_coded(concepts.NORMALITIES[finding])}^^^^^^{FINDINGS[finding]}"
    observations = [("CWE", "121071^Finding^DCM", said, _abnormal_flag(result, finding))]
    if result.probability is not None:
        observations.append(("NM", _coded(concepts.PROBABILITY), f"{result.probability:.4f}", ""))
    if category := concepts.ACR_CATEGORIES.get(result.acr_category or ""):
        observations.append(("CWE", _coded(concepts.ACTIONABLE_FINDING), _coded(category), ""))
    observations += [
        ("CWE", _coded(concepts.PRIORITY), f"{code}^{meaning}^HL70485^^^^^^{result.priority.value}", ""),
        ("ST", _site("RULE", "Rule"), escape(result.rule), ""),
        ("ST", _site("STAGE", "Stage"), stage, ""),
        ("ST", "110180^Study Instance UID^DCM", escape(result.study_instance_uid), ""),
        ("ST", _site("BUNDLE", "Model bundle"), escape(result.model.label), ""),
    ]
    if result.anatomy:
        observations.append(("ST", _site("REGION", "Region"), escape(result.anatomy), ""))
    return observations


def _abnormal_flag(result: Decision | Flag, finding: Finding) -> str:
    """OBX-8, table 0078: AA for what should be read at once, A abnormal, N normal; empty where it is neither."""
    doubted = finding is Finding.UNCERTAIN and (result.probability or 0.0) >= result.model.threshold
    if finding is Finding.ABNORMAL or doubted:  # a flag that said so already is not taken back by doubt
        return "AA" if result.priority is Priority.STAT else "A"
    return "N" if finding is Finding.NORMAL else ""


def _coded(code: Code) -> str:
    return "^".join(escape(part) for part in (code.value, code.meaning, code.scheme_designator))


def _site(code: str, meaning: str) -> str:
    return f"{code}^{meaning}^{concepts.SITE_SCHEME}"


def _local(context: ResultContext) -> datetime:
    return context.made_at.astimezone(header.utc_offset(context.headers) or context.timezone)


def _timestamp(at: datetime) -> str:
    """TS with seconds and offset, so that no receiver has to guess the zone."""
    return f"{at:%Y%m%d%H%M%S%z}"
