"""A site's policy file: read, checked whole, and every problem told with its line."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from triage_agent.domain.errors import ConfigurationError, ProblemsError
from triage_agent.domain.visible import visible
from triage_agent.sections.mistakes import described, hint
from triage_agent.sections.policy import RuleSettings, RulesFile
from triage_agent.sections.toml_lines import Document

_MOST_BYTES = 64 * 1024
_MOST_LINES = 1000
_MOST_PROBLEMS = 50  # that are told at once
_LONGEST_NAME = 64


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
    try:
        read = RulesFile.model_validate(document.values)
    except ValidationError as error:
        raise ProblemsError(where, _problems(error, document)) from None
    found = ReadRules(read.rules, document)
    if problems := _of_all(found, destinations):
        raise ProblemsError(where, problems)
    return found


def unknown_destinations(rules: Sequence[RuleSettings], destinations: Collection[str]) -> list[tuple[int, str]]:
    """Which rules send results where no route leads: the rule's number, and what to say of it."""
    known = sorted(set(destinations))
    return [
        (number, f"routes: no [[routes]] leads to {name!r}{hint(name, known)}")
        for number, rule in enumerate(rules)
        for name in (rule.then or rule).routes or ()
        if name not in known
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


def _problems(error: ValidationError, document: Document) -> list[tuple[int, str]]:
    """Each once, the first of very many."""
    # A list with an entry that is refused counts as shorter, too: that is no problem of its own.
    found = [one for one in error.errors() if not (one["type"] == "too_short" and one["input"])]
    return sorted({(document.line_of(one["loc"]), _told(one, document.values)) for one in found[:_MOST_PROBLEMS]})


def _told(problem: Any, values: dict[str, Any]) -> str:
    """What is wrong, with the rule's name where it has one."""
    location = problem["loc"]
    said = described(problem, RulesFile)
    if len(location) > 1 and location[0] == "rules" and isinstance(location[1], int):
        number = location[1]
        rule = values["rules"][number]
        name = rule.get("name") if isinstance(rule, dict) else None
        called = f'rule "{name[:_LONGEST_NAME]}"' if isinstance(name, str) and name.strip() else f"rule {number + 1}"
        inner = ".".join(str(part) for part in location[2:])
        said = said.replace(".".join(str(part) for part in location), inner, 1).removeprefix(": ")
        said = f"{called}: {said}"
    return visible(said)


def _of_all(found: ReadRules, destinations: Collection[str]) -> list[tuple[int, str]]:
    """What only all rules together, or the site's routes, show to be wrong."""
    names = Counter(rule.name for rule in found.rules)
    seen: set[str] = set()
    problems = []
    for number, rule in enumerate(found.rules):
        if names[rule.name] > 1 and rule.name in seen:
            line = found.line_of(number, "name")
            problems.append((line, f'rule "{rule.name}": another rule has that name; choose another'))
        seen.add(rule.name)
    for number, said in unknown_destinations(found.rules, destinations):
        rule = found.rules[number]
        line = found.line_of(number, *(("then", "routes") if rule.then else ("routes",)))
        problems.append((line, visible(f'rule "{rule.name}": {said}')))
    return sorted(problems)
