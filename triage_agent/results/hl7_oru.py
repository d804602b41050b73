"""A result as an unsolicited observation, ORU^R01^ORU_R01, for worklists that take results as input.

OBX-11 and OBR-25 are P: nobody has verified what a machine found (table 0085: "preliminary"). A destination whose form
says so is given F with the decision, and C with what comes after one; the notes go on saying what it is.
"""

from collections.abc import Iterator, Sequence

from triage_agent.domain.decision import Artifact, Decision, Flag
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority
from triage_agent.results import codes as concepts
from triage_agent.results import header
from triage_agent.results.context import ResultContext
from triage_agent.results.hl7_segments import (
    PRIORITIES,
    Segment,
    coded,
    escape,
    facts_of,
    finding_of,
    made_at,
    message,
    message_uid,
    notes,
    of_site,
    order_of,
    priority_segments,
    quantity_timing,
    stage_of,
)
from triage_agent.results.summary import FINDINGS, is_provisional

_EVENT = ("ORU", "R01", "ORU_R01")


def build_oru(context: ResultContext) -> Artifact:
    """The message of a decision, or of a flag that came before it, with CR between segments."""
    status = _status(context)
    body = [_obr(context, status), *notes(context), *priority_segments(context), *_obx(context, status)]
    return message(ArtifactKind.HL7_ORU, _EVENT, context, body)


def _status(context: ResultContext) -> str:
    """OBX-11 and OBR-25, tables 0085 and 0123: what is final can only be changed by a correction."""
    if context.form.result_status == "preliminary":
        return "P"
    if context.previous is not None and not is_provisional(context.previous.summary):
        return "C"
    return "P" if isinstance(context.result, Flag) else "F"


def _obr(context: ResultContext, status: str) -> Segment:
    order = order_of(context)
    study_date = header.date(header.first_text(context.headers, "StudyDate"))
    study_time = header.time(header.first_text(context.headers, "StudyTime"))
    fields = {
        1: "1",
        2: order.placer,
        3: order.filler,
        4: coded(concepts.IMAGING_PROCEDURE),
        7: study_date + study_time if study_date else "",
        18: order.accession,
        19: order.requested_procedure,
        20: context.result.study_instance_uid,
        21: message_uid(ArtifactKind.HL7_ORU, context),
        22: made_at(context),
        24: "RAD",
        25: status,
    }
    return Segment("OBR", fields if facts_of(context).has_tq1 else fields | {27: quantity_timing(context)})


def _obx(context: ResultContext, status: str) -> Iterator[Segment]:
    at = made_at(context)
    for number, (label, value_type, name, value, flag) in enumerate(_observations(context), start=1):
        yield Segment(
            "OBX",
            {
                1: str(number),
                2: value_type,
                3: name,
                5: value,
                8: flag,
                11: status,
                14: at,
                18: context.device_uid,
            },
            label,
        )


def _observations(context: ResultContext) -> Sequence[tuple[str, str, str, str, str]]:
    """Name, value type, identifier, value and abnormal flag of each OBX, coded as in the structured report."""
    result, facts = context.result, facts_of(context)
    finding = finding_of(context)
    code, meaning = PRIORITIES[result.priority]

    def choice(text: str, original: str = "") -> str:
        """A coded value with what it says in the agent's own words, where the version has room for them."""
        return f"{text}^^^^^^{original}" if original and facts.coded == "CWE" else text

    said = choice(coded(concepts.NORMALITIES[finding]), FINDINGS[finding])
    observations = [("finding", facts.coded, "121071^Finding^DCM", said, _abnormal_flag(result, finding))]
    if result.probability is not None:
        observations.append(("probability", "NM", coded(concepts.PROBABILITY), f"{result.probability:.4f}", ""))
    if category := concepts.ACR_CATEGORIES.get(result.acr_category or ""):
        observations.append(("category", facts.coded, coded(concepts.ACTIONABLE_FINDING), coded(category), ""))
    priority = choice(f"{code}^{meaning}^HL70485", result.priority.value)
    observations += [
        ("priority", facts.coded, coded(concepts.PRIORITY), priority, ""),
        ("rule", "ST", of_site("RULE", "Rule"), escape(result.rule), ""),
        ("stage", "ST", of_site("STAGE", "Stage"), stage_of(context), ""),
        ("study", "ST", "110180^Study Instance UID^DCM", escape(result.study_instance_uid), ""),
        ("bundle", "ST", of_site("BUNDLE", "Model bundle"), escape(result.model.label), ""),
    ]
    if result.anatomy:
        observations.append(("region", "ST", of_site("REGION", "Region"), escape(result.anatomy), ""))
    return observations


def _abnormal_flag(result: Decision | Flag, finding: Finding) -> str:
    """OBX-8, table 0078: AA for what should be read at once, A abnormal, N normal; empty where it is neither."""
    doubted = finding is Finding.UNCERTAIN and (result.probability or 0.0) >= result.model.threshold
    if finding is Finding.ABNORMAL or doubted:  # a flag that said so already is not taken back by doubt
        return "AA" if result.priority is Priority.STAT else "A"
    return "N" if finding is Finding.NORMAL else ""
