"""Alerts, dashboard, runbook and the table of metrics belong together, and the commands that they name exist."""

import json
import re
import shlex
from functools import cache

import pytest
import yaml
from support.exposition import DASHBOARD, RULES, RUNBOOK, metrics_in, panels, rules, told
from typer.main import get_command

from triage_agent.cli.app import application
from triage_agent.domain.vocabulary import DeliveryState, Outcome, Priority, Status

SECTIONS = dict(re.findall(r"^## (Triage\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
PARTS = ("**Means.**", "**Lost meanwhile.**", "**Look.**", "**Do.**", "**Ends**")
NOT_METRICS = {"ALERTS"}


def test_every_alert_has_its_section_in_the_runbook_and_every_section_its_alert():
    assert len(SECTIONS) > 30
    assert {rule["alert"] for rule in rules()} == SECTIONS.keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert all(rule["annotations"].values())


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_it_means_what_is_lost_how_to_look_what_to_do_and_when_it_ends(name):
    places = [SECTIONS[name].find(part) for part in PARTS]
    assert -1 not in places, dict(zip(PARTS, places, strict=True))
    assert places == sorted(places)


def commands_of(text):
    """Each `triage-agent ...` of a page, as a shell would split it."""
    found = re.findall(r"(?:^    |`)triage-agent ([^`\n]+)", text, re.MULTILINE)
    return [shlex.split(one, comments=True) for one in found]


@cache
def commands():
    return get_command(application())


def missing_of(words):
    """What of a command is not there: a command, or an option; None where it is all there."""
    group = commands()
    while words and hasattr(group, "commands") and words[0] in group.commands:
        group, words = group.commands[words[0]], words[1:]
    if hasattr(group, "commands"):
        return " ".join(words) or group.name
    options = {name for parameter in group.params for name in parameter.opts}
    return next((word for word in words if word.startswith("--") and word not in options), None)


def test_every_command_of_the_runbook_exists_with_its_options():
    typed = commands_of(RUNBOOK.read_text())
    assert len(typed) > 30
    assert {" ".join(words): missing for words in typed if (missing := missing_of(words))} == {}
    assert missing_of(["retry", "--nothing"]) == "--nothing"
    assert missing_of(["nothing"]) == "nothing"


def test_every_link_of_the_runbook_leads_somewhere():
    text = RUNBOOK.read_text()
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        page = RUNBOOK if not path else (RUNBOOK.parent / path).resolve()
        assert page.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}, anchor


def test_words_that_a_query_compares_with_are_words_of_ours():
    """A misspelt status would make an alert that never fires."""
    known = {
        "status": {one.value for one in Status},
        "outbox": {one.value for one in DeliveryState},
        "priority": {one.value for one in Priority},
        "outcome": {
            *(one.value for one in Outcome),
            *(
                "new",
                "complete",
                "refused",
                "resent",
                "dead",
                "sent",
            ),  # of triage_received_, _retrievals_, _commitments_, _notices_
        },
    }
    for query in [rule["expr"] for rule in rules()] + [one for queries in panels().values() for one in queries]:
        for label, words in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"$]*)"', query):
            if label in known and not words.startswith("0x"):
                assert set(words.split("|")) <= known[label], query


def test_every_metric_that_an_alert_or_the_dashboard_asks_for_is_in_the_table():
    table = told().keys() | NOT_METRICS | {"up"}
    asked = {name for rule in rules() for name in metrics_in(rule["expr"])}
    asked |= {name for queries in panels().values() for query in queries for name in metrics_in(query)}
    assert len(asked) > 40
    assert asked - table == set()


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert():
    shown = {name for rule in rules() for name in metrics_in(rule["expr"])}
    shown |= {name for queries in panels().values() for query in queries for name in metrics_in(query)}
    left_out = {name for name in told() if name.startswith("triage_")} - shown
    assert left_out == {
        "triage_worklist_priority",  # all studies there ever were
        "triage_worklist_outbox",  # told by route instead
        "triage_disk_free_bytes",
        "triage_quarantine_bytes",
        "triage_audit_sealed_records_total",
        "triage_audit_unsealed_records",
        "triage_audit_unsent_records",
        "triage_hl7_left_out_total",
        "triage_commitment_answers_total",
        "triage_workitem_reports_total",
    }


def test_every_alert_is_tried_with_series_that_make_it_fire_and_with_some_that_do_not():
    files = [RULES.parent / name for name in ("rules_test.yml", "rules_hours_test.yml")]
    tests = [one for file in files for one in yaml.safe_load(file.read_text())["tests"]]
    fires, quiet = set(), set()
    for one in tests:
        for asked in one["promql_expr_test"]:
            assert f'alertname="{one["name"]}"' in asked["expr"]
            (fires if asked["exp_samples"] else quiet).add(one["name"])
    assert fires == quiet | {"TriageWorkerGone"} == {rule["alert"] for rule in rules()}


def test_the_dashboard_has_rows_for_those_who_look_at_it_and_panels_that_do_not_lie_on_one_another():
    board = json.loads(DASHBOARD.read_text())
    rows = [one["title"] for one in board["panels"] if one["type"] == "row"]
    assert rows == ["Receiving and sending", "The reading list", "The model", "The machine"]
    numbers = [one["id"] for one in board["panels"]]
    assert len(numbers) == len(set(numbers))
    taken = set()
    for one in board["panels"]:
        at = one["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, one["title"]
        taken |= cells


def test_the_dashboard_takes_whatever_data_source_it_is_given():
    board = json.loads(DASHBOARD.read_text())
    sources = {json.dumps(one["datasource"]) for one in board["panels"] if one["type"] != "row"}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
    assert {one["name"] for one in board["templating"]["list"]} == {"datasource", "job", "bundle"}
