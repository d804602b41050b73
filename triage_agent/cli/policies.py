"""`policy check` and `policy test`: a site's rules read, told in sentences, and tried on what was decided."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_agent.builders import read_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout, tell
from triage_agent.decision.reach import Doubt, doubts
from triage_agent.decision.replay import Effect, Replayed, Result, Summary, replay, summary_of
from triage_agent.decision.rules import Policy
from triage_agent.decision.sentences import policy_in_words
from triage_agent.domain.visible import visible
from triage_agent.sections.policy_file import ReadRules, read_rules
from triage_agent.settings import Settings, load_settings

_SHOWN = 50  # studies on a screen; `--json` has all
_EFFECTS = {
    Effect.RAISED: "raised",
    Effect.LOWERED: "less urgent",
    Effect.OTHERWISE: "by another rule",
    Effect.UNCHANGED: "unchanged",
}

app = typer.Typer(no_args_is_help=True, help="A site's rules: read, told in sentences, and tried before they are used.")

_FileArgument = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A policy file; else the rules of the configuration.")
]


@app.command()
def check(file: _FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read rules, say every problem with its line (exit 2), and tell the rules as sentences.

    Routes and time zone are the configuration's.
    """
    settings, policy, read = _policy(file, config)
    noted = _doubts(policy)
    lines = [_line_of(doubt, read) for doubt in noted]
    if as_json:
        print_json(
            {
                "file": _where(file, settings),
                "time_zone": settings.policy.time_zone,
                "rules": policy_in_words(policy),
                "doubts": [
                    {"line": line, "what": one.what, "remedy": one.remedy}
                    for line, one in zip(lines, noted, strict=True)
                ],
            }
        )
        return
    for number, sentence in enumerate(policy_in_words(policy), start=1):
        _say(f"{number}. {sentence}")
    _tell_doubts(noted, read, settings, file)


@app.command("test")
def try_out(
    file: _FileArgument = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Studies decided in the last so many days.")] = 30,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What rules would have made of the studies that were decided: no image is scored again, nothing is written.

    Each study's kept scores, its order, its patient's age and when it came are put to the rules once more.
    """
    settings, policy, read = _policy(file, config)
    since = _now() - timedelta(days=days)
    replayed, left_out = _replayed(settings, policy, since)
    summary = summary_of(replayed)
    changed = [one for one in replayed if one.effect is not Effect.UNCHANGED]
    if as_json:
        print_json(
            {
                "file": _where(file, settings),
                "days": days,
                "since": since,
                "studies": summary.studies,
                "left_out": left_out,
                "facts_of_today": summary.facts_of_today,
                **{effect.value: number for effect, number in summary.effects.items()},
                "rules": [
                    {"rule": name, "before": before, "after": after} for name, (before, after) in summary.rules.items()
                ],
                "changes": [_as_json(one) for one in changed],
            }
        )
        return
    _tell_doubts(_doubts(policy), read, settings, file)
    stdout.print(Group(*_page(summary, changed, days, left_out)))


def _policy(file: Path | None, config: Path | None) -> tuple[Settings, Policy, ReadRules | None]:
    """The configuration, the rules asked about, and the document that they stand in, where they stand in one."""
    settings = load_settings(config)
    named = file if file is not None else settings.policy.file
    if named is None:
        return settings, settings.policy.policy(), None
    read = read_rules(named, [route.to for route in settings.routes])
    rules = settings.policy.model_copy(update={"rules": read.rules})
    return settings, rules.policy(), read


def _replayed(settings: Settings, policy: Policy, since: datetime) -> tuple[list[Replayed], int]:
    worklist = read_worklist(settings)
    found, left_out = [], 0
    for uid in worklist.studies_decided_since(since):
        study = worklist.decided_study(uid)
        again = None if study is None else replay(study, policy)
        if again is None:
            left_out += 1
        else:
            found.append(again)
    return found, left_out


def _doubts(policy: Policy) -> tuple[Doubt, ...]:
    from triage_agent.imaging.anatomy import REGION_OF_CODE

    return doubts(policy, set(REGION_OF_CODE.values()))


def _line_of(doubt: Doubt, read: ReadRules | None) -> int | None:
    if read is None:
        return None
    return 1 if doubt.number is None else read.line_of(doubt.number)


def _tell_doubts(noted: tuple[Doubt, ...], read: ReadRules | None, settings: Settings, file: Path | None) -> None:
    for doubt in noted:
        line = _line_of(doubt, read)
        place = _where(file, settings) if line is None else f"{_where(file, settings)}:{line}"
        tell(f"{place}: {doubt.what}; {doubt.remedy}")


def _where(file: Path | None, settings: Settings) -> str:
    if file is not None or settings.policy.file is not None:
        return str(file or settings.policy.file)
    return "[[policy.rules]]" if settings.policy.rules else "the built-in rules"


def _as_json(one: Replayed) -> dict[str, object]:
    return {
        "study_instance_uid": one.study_instance_uid,
        "accession_number": one.accession_number,
        "revision": one.revision,
        "decided_at": one.decided_at,
        "finding": one.finding,
        "probability": one.probability,
        "effect": one.effect,
        "before": {
            "rule": one.before.rule,
            "priority": one.before.priority,
            "acr_category": one.before.acr_category,
            "routes": one.before.routes,
        },
        "after": one.after,
        "facts_of_today": one.facts_of_today,
    }


def _page(summary: Summary, changed: list[Replayed], days: int, left_out: int) -> Iterator[RenderableType]:
    effects = ", ".join(f"{number} {_EFFECTS[effect]}" for effect, number in summary.effects.items())
    yield Text(f"{summary.studies} studies decided in the last {days} days: {effects}", style="bold")
    if left_out:
        yield Text(f"Left out: {left_out}, out of scope or being scored again")
    if summary.facts_of_today:
        yield Text(
            f"Of {summary.facts_of_today} order, place and age were not noted when they were decided: today's are taken"
        )
    table = _table("Rule", "Fired", "Would fire")
    for name, (before, after) in summary.rules.items():
        table.add_row(Text(visible(name)), str(before), str(after))
    yield table
    if changed:
        yield _changes(changed)


def _changes(changed: list[Replayed]) -> Table:
    more = f" (the first {_SHOWN} of {len(changed)}; all with --json)" if len(changed) > _SHOWN else ""
    table = _table("Study", "Accession", "Decided", "Prob.", "Was", "Would be")
    table.title, table.title_justify = f"What would have changed{more}", "left"
    for one in changed[:_SHOWN]:
        probability = "" if one.probability is None else f"{one.probability:.2f}"
        cells = (one.study_instance_uid, one.accession_number or "", f"{one.decided_at:%Y-%m-%d %H:%M}", probability)
        table.add_row(*(Text(visible(cell)) for cell in (*cells, _in_short(one.before), _in_short(one.after))))
    return table


def _in_short(result: Result) -> str:
    category = f", ACR {result.acr_category}" if result.acr_category else ""
    routes = f", to {', '.join(result.routes)}" if result.routes else ""
    return f"{result.priority.value.upper()} by {result.rule}{category}{routes}"


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name in {"Fired", "Would fire", "Prob."} else "left")
    return table


def _say(line: str) -> None:
    stdout.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _now() -> datetime:
    return datetime.now(UTC)
