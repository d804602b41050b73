"""A site's policy file: read, checked whole, and every problem told with its line."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from triage_agent.domain.errors import ConfigurationError, ProblemsError
from triage_agent.domain.visible import visible
from triage_agent.sections.mistakes import described, hint
from triage_agent.sections.policy import RuleSettings, RulesFile
from triage_agent.sections.toml_lines import Document, KeyPath

_MOST_BYTES = 64 * 1024
_MOST_LINES = 1000
_MOST_PROBLEMS = 50  # that are told at once
_LONGEST_NAME = 64

_Problem = tuple[KeyPath, str]
"""Where in the file, and what to say."""


@dataclass(frozen=True, slots=True)
class ReadRules:
    """Rules with the document that they stand in."""

    rules: tuple[RuleSettings, ...]
    document: Document

    def line_of(self, number: int, *key: str) -> int:
        """Where a rule begins, or a key of it; rules count from 0."""
        return self.document.line_of(("rules", number, *key))


def read_rules(path: Path, destinations: Collection[str]) -> ReadRules:
    """The rules of a policy file; `destinations` are those that the site's routes name.

    Raises:
        ConfigurationError: it cannot be read; `ProblemsError` with every problem of it and its line.
    """
    return rules_of(_bytes_of(path), str(path), destinations)


def rules_of(written: bytes, where: str, destinations: Collection[str]) -> ReadRules:
    """The rules that a file's bytes say; `where` is its name.

    Raises:
        ProblemsError: every problem of it, with its line.
    """
    try:
        text = written.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ProblemsError(where, [(line, "not UTF-8; save the file as UTF-8")]) from None
    if text.count("\n") > _MOST_LINES:
        raise ProblemsError(where, [(_MOST_LINES + 1, "the file goes on; a policy file has 1000 lines at most")])
    document = Document(text, where)
    if not document.values.get("rules"):
        raise ProblemsError(where, [(1, "there are no [[rules]]; write one, or take [policy] file out")])
    problems = _of_all(document.values["rules"], destinations)
    rules: tuple[RuleSettings, ...] = ()
    try:
        rules = RulesFile.model_validate(document.values).rules
    except ValidationError as error:
        problems += _of_each(error, document.values)
    if problems:
        first = problems[:_MOST_PROBLEMS]
        raise ProblemsError(where, sorted({(document.line_of(path), visible(said)) for path, said in first}))
    return ReadRules(rules, document)


def unknown_destinations(rules: Sequence[RuleSettings], destinations: Collection[str]) -> list[tuple[int, str]]:
    """Which rules send results where no route leads: the rule's number, and what to say of it."""
    return [
        (number, _no_route(name, destinations))
        for number, rule in enumerate(rules)
        for name in (rule.then or rule).routes or ()
        if name not in destinations
    ]


def _bytes_of(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path}: is no file", remedy="name the policy file in [policy] file")
        with path.open("rb") as file:
            written = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", remedy="name a readable policy file") from None
    except ValueError:  # a NUL in its name
        raise ConfigurationError(f"{path}: is no file's name", remedy="name a readable policy file") from None
    if len(written) > _MOST_BYTES:
        raise ConfigurationError(
            f"{path}: is larger than {_MOST_BYTES // 1024} KiB", remedy="name the policy file, which holds rules only"
        )
    return written


def _of_each(error: ValidationError, values: dict[str, Any]) -> list[_Problem]:
    """What is wrong with the rules one by one."""
    # A list with an entry that is refused counts as shorter, too: that is no problem of its own.
    found = [one for one in error.errors() if not (one["type"] == "too_short" and one["input"])]
    return [(one["loc"], _told(one, values)) for one in found]


def _told(problem: Any, values: dict[str, Any]) -> str:
    """What is wrong, with the rule's name where it has one."""
    location = problem["loc"]
    said = described(problem, RulesFile)
    if len(location) > 1 and location[0] == "rules" and isinstance(location[1], int):
        inner = ".".join(str(part) for part in location[2:])
        said = said.replace(".".join(str(part) for part in location), inner, 1).removeprefix(": ")
        said = f"{_called(values['rules'][location[1]], location[1])}: {said}"
    return said


def _of_all(rules: Any, destinations: Collection[str]) -> list[_Problem]:
    """What only all rules together, or the site's routes, show to be wrong; as they stand in the file."""
    seen: set[str] = set()
    problems: list[_Problem] = []
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        name, called = rule.get("name"), _called(rule, number)
        if isinstance(name, str) and name in seen:
            problems.append((("rules", number, "name"), f"{called}: another rule has that name; choose another"))
        seen |= {name} if isinstance(name, str) else set()
        problems += [
            (("rules", number, *key), f"{called}: {_no_route(to, destinations)}")
            for key, to in _destinations(rule)
            if to not in destinations
        ]
    return problems


def _destinations(rule: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """What a rule names in `routes`, in `then` or beside it, as far as it is text."""
    for key, table in (("routes",), rule), (("then", "routes"), rule.get("then")):
        routes = table.get("routes") if isinstance(table, dict) else None
        for to in routes if isinstance(routes, list) else ():
            if isinstance(to, str) and to:
                yield key, to


def _called(rule: Any, number: int) -> str:
    name = rule.get("name") if isinstance(rule, dict) else None
    return f'rule "{name[:_LONGEST_NAME]}"' if isinstance(name, str) and name.strip() else f"rule {number + 1}"


def _no_route(name: str, destinations: Collection[str]) -> str:
    return f"routes: no [[routes]] leads to {name[:_LONGEST_NAME]!r}{hint(name, sorted(set(destinations)))}"
