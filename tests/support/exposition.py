"""What /metrics shows, taken apart by the library's own parser; and what pages and files of ours say of it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
OPERATIONS = ROOT / "docs" / "operations.md"
RUNBOOK = ROOT / "docs" / "runbook.md"

_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
_NAME = re.compile(r"\b(?:triage|process)_[a-z0-9_]+")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Told:
    """A metric as the page of operations tells it."""

    kind: str
    labels: frozenset


def values(text):
    """{series: value} of an exposition."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def families(text):
    """{metric: (type, the labels that its series have)}, by the names that queries use, but for `_created`."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" and not _is_plain(family) else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, frozenset(labels))
    return found


def _is_plain(family):
    """A counter whose name does not end in _total: none of ours."""
    return any(sample.name == family.name for sample in family.samples)


def told():
    """{metric: what the table of metrics says of it}."""
    rows = _ROW.findall(OPERATIONS.read_text())
    names = [name for name, *_ in rows]
    assert len(names) == len(set(names)), "a metric stands twice on the page"
    return {name: Told(kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}


def metrics_in(query):
    """The metrics that a query names, by the names of the table."""
    return {_SUFFIX.sub("", name) if _SUFFIX.search(name) else name for name in _NAME.findall(_bare(query))}


def _bare(query):
    """Without what stands in quotes."""
    return re.sub(r'"[^"]*"', '""', query)


def rules():
    """Every rule of rules.yml."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels():
    """{title: its queries} of the dashboard."""
    board = json.loads(DASHBOARD.read_text())
    return {one["title"]: [target["expr"] for target in one.get("targets", ())] for one in board["panels"]}


def plain(query):
    """A query of the dashboard with its variables filled in, as Grafana does."""
    filled = query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$bundle", ".*")
    assert "$" not in filled
    return filled
