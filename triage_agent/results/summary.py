"""A result in words, for people."""

from triage_agent.domain.decision import Decision, Flag, ModelIdentity
from triage_agent.domain.vocabulary import Event, Finding

DISCLAIMER = "Preliminary. Made by a machine. Not a diagnosis."

_PROVISIONAL = "Possibly abnormal, provisional"
_NOT_CLINICAL = "not for clinical use"
FINDINGS = {
    Finding.ABNORMAL: "Abnormal",
    Finding.NORMAL: "Normal",
    Finding.UNCERTAIN: "Uncertain",
    Finding.NOT_ASSESSED: "Not assessed",
}


def warnings_of(model: ModelIdentity) -> tuple[str, ...]:
    """What a bundle obliges every output to say."""
    says_so = _NOT_CLINICAL in model.notice.lower()
    said = [] if model.clinical_use or says_so else [_not_for_clinical_use(model)]
    return (*said, model.notice) if model.notice else tuple(said)


def consequence(result: Decision | Flag) -> str:
    """The priority that follows, the category and the rule; whether it was raised is among the reasons."""
    category = f", ACR category {result.acr_category}" if result.acr_category else ""
    return f"Priority: {result.priority.value}{category}, by rule {result.rule}."


def who_reads(result: Decision | Flag) -> tuple[str, ...]:
    """What a result that concludes nothing says of whose turn it is; nothing of the others."""
    if isinstance(result, Flag) or result.event is Event.DECIDED:
        return ()
    if result.event is Event.EXCLUDED:
        return ("Not assessed: outside the scope of this machine. A human reads it.",)
    done = "Not assessed" if result.finding is Finding.NOT_ASSESSED else "Not fully assessed"
    return (f"{done} by this machine. A human reads it.",)


def headline(result: Decision | Flag) -> str:
    """Finding, probability and priority in one line."""
    if isinstance(result, Flag):
        what, figure = _PROVISIONAL, f", probability {result.probability:.2f} of one image"
    else:
        what = FINDINGS[result.finding]
        figure = "" if result.probability is None else f", probability {result.probability:.2f}"
    region = f" ({result.anatomy})" if result.anatomy else ""
    return f"{what}{region}{figure}. {consequence(result)}"


def is_provisional(summary: str) -> bool:
    """Whether an artifact's summary (`headline`) is a flag's."""
    return summary.startswith(_PROVISIONAL)


def explanation(decision: Decision) -> tuple[str, ...]:
    """What a report says beside its figures, a sentence each, the most important first."""
    return (
        DISCLAIMER,
        *warnings_of(decision.model),
        *who_reads(decision),
        consequence(decision),
        *decision.reasons,
        f"Bundle: {decision.model.label}.",
    )


def sr_summary(result: Decision | Flag) -> str:
    """What a report says, a sentence or two a line, without patient identifiers."""
    lines = [
        headline(result),
        *who_reads(result),
        *result.reasons,
        f"Bundle: {result.model.label}.",
        *warnings_of(result.model),
        DISCLAIMER,
    ]
    return "\n".join(lines)


def _not_for_clinical_use(model: ModelIdentity) -> str:
    kind = "embedded demonstration model" if "embedded" in model.name.lower() else "model"
    return f"Made by an {kind}, not for clinical use." if kind != "model" else "Made by a model, not for clinical use."
