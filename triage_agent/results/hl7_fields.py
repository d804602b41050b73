"""A site's own field values: where a value goes, and the template that it comes from. Pure.

A target is `OBR-4`, a component of it `PID-3.4`, or a field of one observation `OBX[rule]-3`. A template is HL7 as it
stands in the field, separators and all, with named values in braces, which are escaped when they are filled in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.results.hl7_versions import VERSIONS

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "accession": "Accession Number",
        "placer_order": "Placer Order Number",
        "filler_order": "Filler Order Number",
        "requested_procedure": "Requested Procedure ID",
        "scheduled_step": "Scheduled Procedure Step ID",
        "study_uid": "Study Instance UID",
        "study_description": "Study Description",
        "modality": "Modality",
        "patient_id": "Patient ID",
        "issuer": "Issuer of Patient ID",
        "institution": "the configured institution",
        "finding": "abnormal, normal, uncertain or not_assessed",
        "probability": "0.0000 to 1.0000, empty where not assessed",
        "priority": "routine, urgent or stat",
        "category": "1, 2, 3 or empty",
        "rule": "the rule that fired",
        "stage": "provisional (a flag) or decision",
        "bundle": "name, version and digest of the bundle",
        "region": "XR_KNEE, ..., empty where it is not known",
        "summary": "the result in one line",
    }
)
"""What a template may name."""

OBSERVATIONS = ("finding", "probability", "category", "priority", "rule", "stage", "study", "bundle", "region")
"""The OBX segments of a result message, by the name in a target's brackets."""

_TARGET = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([a-z]+)\])?-([1-9]\d?)(?:\.([1-9]\d?))?")
# What another key decides, or what the message would be broken by.
_TAKEN: Mapping[str, str] = MappingProxyType(
    {
        "MSH-1": "the field separator",
        "MSH-2": "the encoding characters",
        "MSH-3": "sending_application",
        "MSH-4": "sending_facility",
        "MSH-5": "receiving_application",
        "MSH-6": "receiving_facility",
        "MSH-9": "the route's kind",
        "MSH-10": "the agent, so that an answer finds its message",
        "MSH-12": "version",
        "MSH-15": "acknowledgement",
        "MSH-16": "acknowledgement",
        "MSH-18": "charset",
        "OBR-25": "result_status",
        "OBX-1": "the order of the observations",
        "OBX-2": "version",
        "OBX-11": "result_status",
    }
)
_LONGEST = 1000  # characters of a template
_BROKEN_BY = re.compile(r"[|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Target:
    """A field, or one of its components, of every segment of a name; of OBX perhaps of one observation only."""

    segment: str
    observation: str
    field: int
    component: int  # 0: the whole field


def parse_target(text: str) -> Target:
    """Read a target.

    Raises:
        ConfigurationError: it is none.
    """
    found = _TARGET.fullmatch(text)
    if not found:
        raise ConfigurationError(f"{text!r} is no field", remedy="write OBR-4, PID-3.4 or OBX[rule]-3")
    segment, observation, field, component = found.groups()
    return Target(segment, observation or "", int(field), int(component or 0))


def require_usable(form: Hl7Form) -> None:
    """See that every field of a form can be written in its version.

    Raises:
        ConfigurationError: one cannot, and what to write instead.
    """
    longest = VERSIONS[form.version].longest
    for text, template in form.fields:
        target = parse_target(text)
        name = f"{target.segment}-{target.field}"
        if name in _TAKEN:
            raise ConfigurationError(f"{text} cannot be set", remedy=f"it follows from {_TAKEN[name]}")
        if target.segment not in longest:
            raise ConfigurationError(
                f"{text}: no message of version {form.version} has {target.segment}",
                remedy=f"known are {', '.join(sorted(longest))}",
            )
        if target.field > longest[target.segment]:
            raise ConfigurationError(
                f"{text}: {target.segment} ends with field {longest[target.segment]} in version {form.version}",
                remedy="choose another field, or a later version",
            )
        if target.observation and (target.segment != "OBX" or target.observation not in OBSERVATIONS):
            raise ConfigurationError(
                f"{text}: there is no such observation", remedy=f"OBX[...] takes {', '.join(OBSERVATIONS)}"
            )
        _require_template(text, template)
    for name in ("sending_application", "sending_facility", "receiving_application", "receiving_facility"):
        _require_text(name, getattr(form, name))


def _require_template(text: str, template: str) -> None:
    _require_text(text, template)
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"{text}: {error}", remedy="write a brace that is meant as such twice") from None
    for _, name, specification, conversion in pieces:
        if name is not None and (name not in NAMES or specification or conversion):
            raise ConfigurationError(
                f"{text}: {{{name}}} is no value by a name", remedy=f"known are {', '.join(sorted(NAMES))}"
            )


def _require_text(name: str, text: str) -> None:
    if len(text) > _LONGEST:
        raise ConfigurationError(f"{name} is longer than {_LONGEST} characters", remedy="shorten it")
    if found := _BROKEN_BY.search(text):
        raise ConfigurationError(
            f"{name} holds {found[0]!r}, which ends a field or a segment", remedy="write \\F\\ for |, and no line ends"
        )


def filled(form: Hl7Form, values: Mapping[str, str]) -> list[tuple[Target, str]]:
    """The form's fields with named values filled in, which are escaped already."""
    return [(parse_target(text), template.format_map(values)) for text, template in form.fields]


def with_component(field: str, component: int, value: str) -> str:
    """A field whose component has that value, in its first repetition; 0 is the whole field."""
    if component == 0:
        return value
    first, tilde, others = field.partition("~")
    components = first.split("^")
    components += [""] * (component - len(components))
    components[component - 1] = value
    return "^".join(components) + tilde + others


def applied(
    segment: str, label: str, fields: Mapping[int, str], own: Sequence[tuple[Target, str]]
) -> Mapping[int, str]:
    """A segment's fields with the site's own; `label` is the name of an observation."""
    changed = dict(fields)
    for target, value in own:
        if target.segment == segment and target.observation in {"", label}:
            changed[target.field] = with_component(changed.get(target.field, ""), target.component, value)
    return changed
