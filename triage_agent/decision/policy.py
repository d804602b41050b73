"""From the scores of a study's instances to its decision, and from one instance's score to a flag. Pure.

A study's probability is the arithmetic mean of its scored instances' probabilities (MURA, Rajpurkar et al. 2018), and
it is abnormal at or above the bundle's threshold. An instance at or above the bundle's alert threshold raises the
priority by itself: early as a flag, or here, so that the result does not depend on which came first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from triage_agent.decision import reasons as say
from triage_agent.decision import sentences
from triage_agent.decision.rules import ALERT, ANATOMY_NOT_IN_BUNDLE, NO_RULE, NOT_SCORED, OUT_OF_SCOPE, Policy, Rule
from triage_agent.decision.tally import Scored, Tally
from triage_agent.domain.decision import Decision, Flag, ModelIdentity
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority

__all__ = ["Policy", "decide", "flag_for", "flag_of_failed", "of_several_patients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What a decision adds to the study it is about."""

    event: Event
    finding: Finding
    probability: float | None
    priority: Priority
    acr_category: str | None
    rule: str
    reasons: tuple[str, ...]
    status_reason: str = ""
    why: str = ""
    routes: tuple[str, ...] = ()


def decide(
    study: ClaimedStudy, assessments: Sequence[Assessment], model: ModelIdentity, policy: Policy, now: datetime
) -> Decision:
    """The decision of one study revision.

    Args:
        study: the study as claimed; its priority is the least that the decision proposes.
        assessments: of its instances; an instance without one counts as failed, so that nothing disappears.
        model: the bundle that scored.
        policy: the site's rules.
        now: when it is decided.
    """
    tally = Tally.of(study.instances, assessments, model, lost=study.lost)
    verdict = _with_refused(study, assessments, _verdict(study, tally, model, policy), model, policy)
    return Decision(
        study_instance_uid=study.study_instance_uid,
        revision=study.revision,
        event=verdict.event,
        finding=verdict.finding,
        probability=verdict.probability,
        priority=study.priority.raised_to(verdict.priority),
        acr_category=verdict.acr_category,
        rule=verdict.rule,
        reasons=(
            *verdict.reasons,
            *say.remarks(tally, model),
            *say.incomplete(study),
            *say.originals_deleted(study.instances),
        ),
        status_reason=verdict.status_reason,
        anatomy=tally.anatomy,
        model=model,
        decided_at=now,
        why=verdict.why,
        # Whoever was told of a raise, or of an earlier revision, is told what became of it.
        routes=tuple(sorted({*verdict.routes, *study.told})) if verdict.routes else (),
        known=study.known,
    )


def flag_for(
    claimed: ClaimedImage, assessment: Assessment, model: ModelIdentity, policy: Policy, now: datetime
) -> Flag | None:
    """The raise that one instance asks for before its study is complete (promise 7).

    None unless the instance is at or above the bundle's alert threshold, shows a region of the bundle or one that is
    not stated, and the policy's rule for an abnormal study of that probability is above the study's priority.
    """
    probability = _probability_that_counts(assessment, model)
    if probability is None or probability < model.alert:
        return None
    rule = policy.match(Finding.ABNORMAL, probability, assessment.anatomy, known=claimed.known)
    if rule is None or rule.priority.rank <= claimed.priority.rank:
        return None
    why = sentences.conditions(rule.when, policy.zone)
    return Flag(
        study_instance_uid=claimed.study_instance_uid,
        revision=claimed.revision,
        sop_instance_uid=assessment.sop_instance_uid,
        probability=probability,
        priority=rule.priority,
        acr_category=rule.acr_category,
        rule=ALERT,
        reasons=(
            say.one_image_alerts(probability, model),
            say.alert_rule(rule),
            say.asks_for(rule, why),
            *_region_of(assessment),
        ),
        anatomy=assessment.anatomy,
        model=model,
        raised_at=now,
        why=why,
        routes=rule.routes,
    )


def flag_of_failed(study: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> Flag | None:
    """The raise of a study that was decided to need a human: it has no report that could tell of it.

    It is the flag of the most probable image, as if that one had raised the study when it came; so what is told does
    not depend on whether images were scored as they came or all at the end. None unless the decision failed and raises
    the study's priority.
    """
    if decision.event is not Event.FAILED or decision.priority.rank <= study.priority.rank:
        return None
    found = [(_probability_that_counts(one, decision.model), one) for one in assessments]
    counted = [(probability, one) for probability, one in found if probability is not None]
    if not counted:
        return None
    probability, image = max(counted, key=lambda pair: (pair[0], pair[1].sop_instance_uid))
    return Flag(
        study_instance_uid=decision.study_instance_uid,
        revision=decision.revision,
        sop_instance_uid=image.sop_instance_uid,
        probability=probability,
        priority=decision.priority,
        acr_category=decision.acr_category,
        rule=decision.rule,
        # Those of a decision tell of the regions of images that were scored, not of one that was refused.
        reasons=tuple(dict.fromkeys(decision.reasons + (_region_of(image) if image.outcome is Outcome.FAILED else ()))),
        anatomy=image.anatomy,
        model=decision.model,
        raised_at=decision.decided_at,
        why=decision.why,
        routes=decision.routes,
    )


def of_several_patients(decision: Decision) -> Decision:
    """What becomes of a decision where the study's images name different patients: whose would it be?

    A human looks, not later than the images ask for, whoever they are of; what concludes nothing is left as it is.
    """
    if decision.event is Event.EXCLUDED:
        return decision
    why = say.several_patients()
    return replace(
        decision,
        event=Event.FAILED,
        finding=Finding.NOT_ASSESSED,
        probability=None,
        acr_category=None,
        reasons=(why, *decision.reasons),
        status_reason=why,
    )


def _region_of(assessment: Assessment) -> tuple[str, ...]:
    return say.region(assessment.anatomy, from_image=assessment.anatomy_from_image)


def _probability_that_counts(assessment: Assessment, model: ModelIdentity) -> float | None:
    """A score that is one, of a region of the bundle or one that is not stated; a refused image's, too."""
    probability = assessment.probability
    if assessment.outcome is Outcome.SKIPPED or probability is None or not 0.0 <= probability <= 1.0:
        return None
    inside = assessment.anatomy is None or assessment.anatomy in model.anatomies
    return probability if inside else None


def _verdict(study: ClaimedStudy, tally: Tally, model: ModelIdentity, policy: Policy) -> _Verdict:
    if not tally.considered:
        why = say.nothing_to_score(tally)
        event, rule = (Event.EXCLUDED, OUT_OF_SCOPE) if tally.skipped else (Event.FAILED, NOT_SCORED)
        return _not_assessed(event, study, rule, why)
    if not tally.counted:
        if tally.failed:
            return _not_assessed(Event.FAILED, study, NOT_SCORED, say.failures(tally))
        return _not_assessed(Event.DECIDED, study, ANATOMY_NOT_IN_BUNDLE, say.anatomy_not_in_bundle(tally, model))
    verdict = _scored(study, tally, model, policy)
    if not tally.failed:
        return verdict
    return _with_failures(study, tally, verdict)


def _with_refused(
    study: ClaimedStudy, assessments: Sequence[Assessment], verdict: _Verdict, model: ModelIdentity, policy: Policy
) -> _Verdict:
    """An image that is too unlike the training images to count may still raise its study, as it did when it came.

    The strangest images are often the worst ones: what such a probability cannot do is to make a study normal.
    """
    refused = [one for one in assessments if one.outcome is Outcome.FAILED]
    found = ((_probability_that_counts(one, model), one.anatomy) for one in refused)
    rules = (
        policy.match(Finding.ABNORMAL, p, anatomy, known=study.known)
        for p, anatomy in found
        if p is not None and p >= model.alert
    )
    alert = max((rule for rule in rules if rule is not None), key=lambda rule: rule.priority.rank, default=None)
    # Where no rule fired, the study's own priority stands there: the image's flag, if it came first, has raised that.
    asks = verdict.priority if verdict.why else Priority.ROUTINE
    if alert is None or alert.priority.rank <= asks.rank:
        return verdict
    why = sentences.conditions(alert.when, policy.zone)
    return replace(
        verdict,
        priority=alert.priority,
        acr_category=alert.acr_category,
        rule=ALERT,
        reasons=(*verdict.reasons, say.alert_rule(alert), say.asks_for(alert, why)),
        why=why,
        routes=alert.routes,
    )


def _not_assessed(event: Event, study: ClaimedStudy, rule: str, why: str) -> _Verdict:
    return _Verdict(
        event=event,
        finding=Finding.NOT_ASSESSED,
        probability=None,
        priority=study.priority,
        acr_category=None,
        rule=rule,
        reasons=(why,),
        status_reason=why,
    )


def _scored(study: ClaimedStudy, tally: Tally, model: ModelIdentity, policy: Policy) -> _Verdict:
    """What the scored instances say, as if there were no others."""
    mean = tally.mean
    alerting = [one for one in tally.counted if one.probability >= model.alert]
    above = mean >= model.threshold
    finding = Finding.ABNORMAL if above else Finding.NORMAL
    reasons = [say.mean_and_threshold(tally, model)]
    band = model.band(tally.anatomy)
    if band is not None and band.holds(mean):
        finding = Finding.UNCERTAIN
        reasons.append(say.cannot_tell(model))
    if not above and alerting:
        finding = Finding.UNCERTAIN
        reasons.append(say.views_disagree(alerting, model))
    elif spread := say.views_spread(tally, model):
        reasons.append(spread)
    status_reason = reasons[1] if finding is Finding.UNCERTAIN else ""
    fired, name, passed = _fired(study, tally, finding, alerting, policy, above=above)
    why = sentences.conditions(fired.when, policy.zone) if fired else ""
    reasons.append(say.alert_rule(fired) if fired and name == ALERT else say.rule(fired, study.priority))
    reasons += [say.asks_for(fired, why)] if fired else []
    return _Verdict(
        event=Event.DECIDED,
        finding=finding,
        probability=mean,
        priority=fired.priority if fired else study.priority,
        acr_category=fired.acr_category if fired else None,
        rule=name,
        reasons=(*reasons, *passed),
        status_reason=status_reason,
        why=why,
        routes=fired.routes if fired else (),
    )


def _fired(
    study: ClaimedStudy, tally: Tally, finding: Finding, alerting: Sequence[Scored], policy: Policy, *, above: bool
) -> tuple[Rule | None, str, tuple[str, ...]]:
    """The rule that fires, the name that the decision gives it, and what is said of rules that lack a fact."""
    mean, anatomy, known = tally.mean, tally.anatomy, study.known
    rule = policy.match(finding, mean, anatomy, above_threshold=above, known=known)
    passed = policy.passed_over(rule, finding, mean, anatomy, above_threshold=above, known=known)
    if finding is Finding.UNCERTAIN and above and not (rule and rule.when.above_threshold):
        # A policy made without such studies in mind: doubt takes no raise away that the threshold alone would give.
        sure = policy.match(Finding.ABNORMAL, mean, anatomy, known=known)
        passed = tuple(
            dict.fromkeys((*passed, *policy.passed_over(sure, Finding.ABNORMAL, mean, anatomy, known=known)))
        )
        rule = sure if _outranks(sure, rule) or rule is None else rule
    alerts = (policy.match(Finding.ABNORMAL, one.probability, one.anatomy, known=known) for one in alerting)
    alert = max((a for a in alerts if a is not None), key=lambda a: a.priority.rank, default=None)
    fired, name = (alert, ALERT) if _outranks(alert, rule) else (rule, rule.name if rule else NO_RULE)
    return fired, name, tuple(say.passed_over(one, lacking) for one, lacking in passed)


def _outranks(alert: Rule | None, rule: Rule | None) -> bool:
    lowest = Priority.ROUTINE.rank
    return alert is not None and alert.priority.rank > (rule.priority.rank if rule else lowest)


def _with_failures(study: ClaimedStudy, tally: Tally, verdict: _Verdict) -> _Verdict:
    """A study some of whose instances could not be scored: a human reads it, not later than the scored ones ask for."""
    why = say.failures(tally)
    if verdict.finding is not Finding.NORMAL:
        return replace(verdict, event=Event.FAILED, reasons=(why, *verdict.reasons), status_reason=why)
    # The instance that failed may be the abnormal one: half a study is never called normal.
    unread = _not_assessed(Event.FAILED, study, NOT_SCORED, why)
    return replace(unread, reasons=(why, verdict.reasons[0], say.half_a_study()))
