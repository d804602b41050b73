"""When a study has all its images: a pure rule over deadlines, asked again whenever one passes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from triage_agent.domain.retrieval import LONGEST_UNANSWERED, RetrievalState
from triage_agent.domain.study import AssemblyView, CompletenessRule

_LONGEST_BETWEEN_QUESTIONS = timedelta(seconds=60)
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Complete:
    """Nothing more is waited for; `reason` is for the audit trail."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`; with `ask`, ask the peer now and assess again with its answer.

    `reason` says what is waited for, where that is more than the next image; `fetching`, that it is a retrieval's end.
    """

    until: datetime
    ask: bool
    reason: str | None = None
    fetching: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Nothing more is waited for but what the peer has and did not send: fetch that, and look again."""


def assess(
    view: AssemblyView, rule: CompletenessRule, now: datetime, *, images_at_peer: int | None = None
) -> Complete | Wait | Fetch:
    """Judge a study that is receiving.

    What is being fetched is waited for, up to the longest wait: a study is not dispatched before all moves have ended.
    Once a revision, before it would be complete because no image came, what the peer has more of is fetched.

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
    if now < latest and (fetching := _while_fetching(view, now, latest)) is not None:
        return fetching
    if reason := _reason_to_complete(view, rule, now, latest, all_here=all_here):
        if rule.fetch and reason == _no_image_for(rule.quiet) and now < latest and _may_be_fetched(view):
            return Fetch()
        return Complete(_with_shortfall(reason, view))
    return _until_asked(view, rule, now, deadline, images_at_peer)


def _until_asked(
    view: AssemblyView, rule: CompletenessRule, now: datetime, deadline: datetime, images_at_peer: int | None
) -> Wait:
    """Until when to wait for the next image, and whether to ask the peer now."""
    if rule.ask_after is None:
        return Wait(deadline, ask=False)
    if images_at_peer == view.instances:
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
    if _is_fetched(view):
        return f"all {view.instances} images that the peer has are here"
    still = now - view.last_received_at
    if all_here and still >= (rule.ask_after or timedelta(0)) + rule.steady:
        return f"all {view.instances} images that the peer counts are here, and none came for {_seconds(still)}"
    if now >= latest:
        return f"the longest wait of {_seconds(rule.max_wait)} is over"
    if now >= view.last_received_at + rule.quiet:
        return _no_image_for(rule.quiet)
    return ""


def _while_fetching(view: AssemblyView, now: datetime, latest: datetime) -> Wait | None:
    """None unless somebody fetches the study, or will; a PACS that says nothing at all is not waited for so long."""
    retrieval = view.retrieval
    if retrieval is None or retrieval.state is not RetrievalState.WAITING:
        return None
    if retrieval.expected is not None:
        said = f"fetching from {retrieval.peer}: {view.instances} of {retrieval.expected} images are here"
        return Wait(latest, ask=False, reason=said, fetching=True)
    until = min(retrieval.requested_at + LONGEST_UNANSWERED, latest)
    said = f"asking {retrieval.peer} which images it has"
    return Wait(until, ask=False, reason=said, fetching=True) if now < until else None


def _may_be_fetched(view: AssemblyView) -> bool:
    """Once a revision, and not beside somebody who asks already."""
    retrieval = view.retrieval
    return retrieval is None or (retrieval.state is not RetrievalState.WAITING and retrieval.revision != view.revision)


def _is_fetched(view: AssemblyView) -> bool:
    """Whether just what the peer has is here, and it was asked after the quiet period of this revision."""
    retrieval = view.retrieval
    return (
        retrieval is not None
        and retrieval.state is RetrievalState.DONE
        and retrieval.revision == view.revision
        and retrieval.expected == view.instances
    )


def _with_shortfall(reason: str, view: AssemblyView) -> str:
    """The reason, and what is known to lack all the same."""
    expected = None if view.retrieval is None else view.retrieval.expected
    if view.retrieval is None or expected is None or view.instances >= expected:
        return reason
    return f"{reason}; {view.instances} of {expected} images that {view.retrieval.peer} has are here"


def _no_image_for(quiet: timedelta) -> str:
    return f"no image came for {_seconds(quiet)}"


def _seconds(wait: timedelta) -> str:
    return f"{round(wait.total_seconds(), 1):g} s"
