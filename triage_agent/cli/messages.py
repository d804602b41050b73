"""What `check` shows of HL7 messages: an example of each kind that a route sends, as its receiver would get it."""

from collections.abc import Callable, Iterator
from functools import partial

from triage_agent.builders import build_routes
from triage_agent.domain.decision import InForm
from triage_agent.domain.vocabulary import Family
from triage_agent.results.hl7_example import example_message
from triage_agent.settings import Settings


def examples(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """A part for each kind and destination."""
    for route in build_routes(settings):
        for kind in route.send:
            if kind.family is Family.HL7_MESSAGE:
                yield (
                    f"{kind.value} to {route.to}",
                    partial(_example, (kind, route.form_of(kind)), settings.institution),
                )


def _example(what: InForm, institution: str) -> str:
    """In one line, as everything that `check` says: " / " stands for the end of a segment."""
    _, form = what
    return f"version {form.version}, {form.charset}, for example: {' / '.join(example_message(what, institution))}"
