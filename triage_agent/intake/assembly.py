"""When a study has all its images: a pure rule over deadlines, asked again whenever one passes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from triage_agent.domain.study import AssemblyView, CompletenessRule

_LONGEST_BETWEEN_QUESTIONS = timedelta(seconds=60)
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Complete:
    """Nothing more is waited for; `reason` is for the audit trail."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`; with `ask`, ask the peer now and assess again with its answer."""

    until: datetime
    ask: bool


def assess(
    view: AssemblyView, rule: CompletenessRule, now: datetime, *, images_at_peer: int | None = None
) -> Complete | Wait:
    """Judge a study that is receiving.

    Args:
        view: what has come so far, and how often the peer was asked before.
        rule: the site's deadlines; without `ask_after` nobody is asked.
        now: the present, on the clock that stamped the images.
        images_at_peer: the peer's answer, when it has just been asked and knew one. A peer that knows fewer images
            than are here (it has not filed them yet) or more (they are on their way) is asked again, each time after
            twice as long, until the quiet period is over. One that knows as many may itself be waiting for the next
            view to be shot: it is asked again when its count had time to grow, and is believed then.
    """
    latest = min(view.first_received_at, view.last_received_at) + rule.max_wait
    deadline = min(view.last_received_at + rule.quiet, latest)
    all_here = images_at_peer == view.instances
    if reason := _reason_to_complete(view, rule, now, latest, all_here=all_here):
        return Complete(reason)
    if rule.ask_after is None:
        return Wait(deadline, ask=False)
    if all_here:
        return Wait(min(view.last_received_at + rule.ask_after + rule.steady, deadline), ask=False)
    first_question = view.last_received_at + rule.ask_after
    if now < first_question:
        return Wait(min(first_question, deadline), ask=False)
    pause = min(rule.ask_after * 2 ** min(view.asked, _MOST_DOUBLINGS), _LONGEST_BETWEEN_QUESTIONS)
    return Wait(min(now + pause, deadline), ask=images_at_peer is None)


def _reason_to_complete(
    view: AssemblyView, rule: CompletenessRule, now: datetime, latest: datetime, *, all_here: bool
) -> str:
    """Why nothing more is waited for; empty while something is."""
    if view.last_received_at - now > rule.quiet:
        # Waiting for the clock to catch up could strand the study for hours; images that come late reopen it.
        return "the clock was set back since the last image"
    still = now - view.last_received_at
    if all_here and still >= (rule.ask_after or timedelta(0)) + rule.steady:
        return f"all {view.instances} images that the peer counts are here, and none came for {_seconds(still)}"
    if now >= latest:
        return f"the longest wait of {_seconds(rule.max_wait)} is over"
    if now >= view.last_received_at + rule.quiet:
        return f"no image came for {_seconds(rule.quiet)}"
    return ""


def _seconds(wait: timedelta) -> str:
    return f"{round(wait.total_seconds(), 1):g} s"
