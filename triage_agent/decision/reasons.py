"""The sentences that decisions carry, for people: what was seen, against which figure, and which rule it fired."""

from collections import Counter
from collections.abc import Sequence

from triage_agent.decision.rules import Rule
from triage_agent.decision.tally import Scored, Tally
from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.study import ClaimedStudy, StoredInstance
from triage_agent.domain.vocabulary import Priority

_COARSE, _FINE = 2, 4  # decimals: enough to read, or to see a difference


def mean_and_threshold(tally: Tally, model: ModelIdentity) -> str:
    """How many were scored, and on which side of the threshold their mean is."""
    side = "at or above" if tally.mean >= model.threshold else "below"
    mean, threshold = _figures(tally.mean, model.threshold)
    return (
        f"{len(tally.counted)} of {_count(tally.considered, 'image')} scored; "
        f"mean probability {mean} is {side} the threshold {threshold}."
    )


def in_short(tally: Tally, model: ModelIdentity) -> str:
    """`mean_and_threshold` for a column of a table; there must be a counted image."""
    mean, threshold = _figures(tally.mean, model.threshold)
    side = ">=" if tally.mean >= model.threshold else "<"
    return f"{len(tally.counted)} of {tally.considered} scored, mean {mean} {side} {threshold}"


def views_disagree(alerting: Sequence[Scored], model: ModelIdentity) -> str:
    """Why a study whose mean is low is not called normal."""
    highest, alert = _figures(max(one.probability for one in alerting), model.alert)
    return (
        f"Views disagree: {_count(len(alerting), 'image')} at or above the alert threshold {alert} "
        f"(highest probability {highest})."
    )


def cannot_tell(model: ModelIdentity) -> str:
    """Why a finding is left open although the mean is on one side of the threshold."""
    return f"At the error rate of {model.error_rate:.0%} that is allowed here, the probability does not settle this."


def views_spread(tally: Tally, model: ModelIdentity) -> str:
    """A remark where the views of a study lie on both sides of the threshold; empty where they agree."""
    above = sum(one.probability >= model.threshold for one in tally.counted)
    if above in {0, len(tally.counted)}:
        return ""
    lowest = min(one.probability for one in tally.counted)
    highest = max(one.probability for one in tally.counted)
    return (
        f"The views differ: {above} of {_count(len(tally.counted), 'image')} at or above the threshold "
        f"(probabilities {lowest:.2f} to {highest:.2f})."
    )


def one_image_alerts(probability: float, model: ModelIdentity) -> str:
    """Why a study was raised before it was complete."""
    figure, alert = _figures(probability, model.alert)
    return f"One image's probability {figure} is at or above the alert threshold {alert}, before the study is complete."


def alert_rule(rule: Rule) -> str:
    """What a single image's raise proposes, and by which rule."""
    return f'One image alone asks for {rule.priority.value} by rule "{rule.name}".'


def rule(fired: Rule | None, had: Priority) -> str:
    """What the rule that fired proposes."""
    if fired is None:
        return "No rule of the policy applies; the priority stays as it was."
    if fired.priority.rank > had.rank:
        return f'Rule "{fired.name}" raises the priority from {had.value} to {fired.priority.value}.'
    since = " (raised before, or asked for by the order)" if had is not Priority.ROUTINE else ""
    return f'Rule "{fired.name}" leaves the priority at {had.value}{since}.'


def asks_for(fired: Rule, why: str) -> str:
    """What the rule that fired is for; `why` is `sentences.conditions` of it."""
    return f'Rule "{fired.name}" is for {why}.'


def passed_over(one: Rule, lacking: Sequence[str]) -> str:
    """Why a rule that might have fired did not: what it asks for is not known."""
    verb = "is" if len(lacking) == 1 else "are"
    return f'Rule "{one.name}" was passed over: {" and ".join(lacking)} {verb} not known.'


def region(anatomy: str | None, *, from_image: bool = False) -> tuple[str, ...]:
    """A remark where nothing says which region is shown, or one image alone does."""
    if anatomy is not None:
        return (_taken(anatomy, 1),) if from_image else ()
    return ("The region is not stated; the images were scored as one of the bundle's regions.",)


def remarks(tally: Tally, model: ModelIdentity) -> tuple[str, ...]:
    """What a reader should know about the instances besides the result."""
    said: list[str] = []
    if tally.counted:
        said += region(tally.anatomy)
    said += _looks_like(tally)
    if tally.counted:
        if tally.outside:
            said.append(f"Not counted: {_count(len(tally.outside), 'image')} of {_regions(tally)}, outside the bundle.")
        if any(one.bundle_digest not in {"", model.digest} for one in tally.counted):
            said.append("Some images were scored by another bundle than the one named here.")
    if tally.skipped and tally.considered:
        said.append(f"Skipped: {_count(len(tally.skipped), 'object')} ({_distinct(tally.skipped)}).")
    return tuple(said)


def _looks_like(tally: Tally) -> list[str]:
    """Where the region was taken from the images, and where they look like another than the header states."""
    everything = (*tally.counted, *tally.outside)
    taken = Counter(one.anatomy for one in everything if one.anatomy_from_image)
    other = Counter(
        (one.seen_anatomy, one.anatomy)
        for one in everything
        if one.seen_anatomy is not None and one.seen_anatomy != one.anatomy and not one.anatomy_from_image
    )
    said = [_taken(anatomy, count) for anatomy, count in sorted(taken.items(), key=str)]
    said += [
        f"{_count(count, 'image')} {_look(count)} like {seen}, the header says {stated}."
        for (seen, stated), count in sorted(other.items(), key=str)
    ]
    return said


def _taken(anatomy: str | None, count: int) -> str:
    return f"The header names no single region; {_count(count, 'image')} {_look(count)} like {anatomy} to the model."


def _look(count: int) -> str:
    return "looks" if count == 1 else "look"


def anatomy_not_in_bundle(tally: Tally, model: ModelIdentity) -> str:
    """Why scores were kept and not used."""
    known = ", ".join(model.anatomies) or "no region"
    return (
        f"The study shows {_regions(tally)}, which the bundle {model.name} does not cover (it covers {known}), "
        "so it is not assessed."
    )


def failures(tally: Tally) -> str:
    """How many of how many could not be scored, and why."""
    return f"{len(tally.failed)} of {_count(tally.considered, 'image')} could not be scored: {_distinct(tally.failed)}."


def originals_deleted(instances: Sequence[StoredInstance]) -> tuple[str, ...]:
    """That some images were not there to be looked at."""
    gone = [one.original_deleted_at for one in instances if one.original_deleted_at]
    if not gone:
        return ()
    images = _count(len(instances), "image")
    said = (
        f"The originals of {len(gone)} of {images} had been deleted by {max(gone):%Y-%m-%d}, as the site's retention "
        "wants it: what was said of them then counts, and reports refer to the others only."
    )
    return (said,)


def half_a_study() -> str:
    """Why a study with a failed image is not called normal."""
    return "A study is not called normal while one of its images could not be scored; the priority stays as it was."


def several_patients() -> str:
    """Why nothing is said of a study; whom its images name stays with them."""
    return "The images name different patients."


def nothing_to_score(tally: Tally) -> str:
    """Why a study has no image for the model."""
    if not tally.skipped:
        return "The study has no instances."
    return f"Nothing to score in {_count(len(tally.skipped), 'object')}: {_distinct(tally.skipped)}."


def incomplete(study: ClaimedStudy) -> tuple[str, ...]:
    """A remark where the PACS is known to have images of the study that it did not send."""
    return (f"The study is incomplete: {study.shortfall}.",) if study.shortfall else ()


def _figures(value: float, limit: float) -> tuple[str, str]:
    """Both with two decimals, or with four where two would hide on which side of the limit the value is."""
    hidden = value != limit and f"{value:.{_COARSE}f}" == f"{limit:.{_COARSE}f}"
    decimals = _FINE if hidden else _COARSE
    return f"{value:.{decimals}f}", f"{limit:.{decimals}f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _distinct(why: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(text.strip().rstrip(".") for text in why))


def _regions(tally: Tally) -> str:
    return ", ".join(sorted({one.anatomy for one in tally.outside if one.anatomy is not None}))
