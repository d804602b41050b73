"""Builds what the routes ask for, one artifact a kind and form."""

from collections.abc import Mapping

import structlog

from triage_agent.domain.decision import Artifact, Decision, Flag, InForm
from triage_agent.domain.errors import TriageError
from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.results.context import RAISE, ResultContext
from triage_agent.results.kept import with_header
from triage_agent.results.registry import REGISTRY

log = structlog.get_logger(__name__)


def build_each(contexts: Mapping[InForm, ResultContext]) -> tuple[dict[InForm, Artifact], list[str]]:
    """The artifacts that can be built, and why the others cannot: one kind's failure costs no other kind."""
    artifacts: dict[InForm, Artifact] = {}
    problems = []
    for (kind, form), context in contexts.items():
        try:
            artifacts[kind, form] = with_header(REGISTRY[kind].build(context))
        except Exception as error:  # noqa: BLE001 - promise 2: nothing disappears
            problems.append(told(f"the {kind.value}", error))
    return artifacts, list(dict.fromkeys(problems))  # one a form, and they say the same


def raises_to(kind: ArtifactKind, result: Decision | Flag) -> Priority | None:
    """Kinds that only tell of a raise ask for it, which would lower what was raised higher meanwhile."""
    return result.priority if RAISE in REGISTRY[kind].occasions else None


def told(what: str, error: Exception) -> str:
    """Why something could not be built: the agent's own words; others' may quote a patient's, so only their type."""
    log.error("result_failed", what=what, error=type(error).__name__)
    said = f": {error.message}" if isinstance(error, TriageError) else f" ({type(error).__name__})"
    return f"{what} could not be built{said}"
