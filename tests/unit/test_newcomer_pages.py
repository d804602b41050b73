"""What a site goes by to set the agent up holds together: the example, the units, the changelog, the map of tables."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from triage_agent.cli.app import application
from triage_agent.cli.serving import Role
from triage_agent.settings import load_settings
from triage_agent.worklist.migrate import migrations_folder
from triage_agent.worklist.tables import Base

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def test_the_hospitals_example_is_a_configuration_with_pages_that_others_reach():
    settings = load_settings(ROOT / "config" / "hospital.example.toml")
    assert settings.web.tls is not None
    assert settings.web.public_url.startswith("https://")
    assert settings.web.host not in {"127.0.0.1", "localhost"}
    assert [rule.name for rule in settings.policy.rules] == ["abnormal-very-likely", "abnormal"]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ALL])
def test_every_role_has_its_line_on_the_page_for_processes_and_its_unit(role):
    page = (ROOT / "docs" / "operations.md").read_text()
    unit = (ROOT / "deploy" / "systemd" / "triage-agent@.service").read_text()
    assert f"serve --role {role}\n" in page or re.search(rf"serve --role {role} +#", page)
    assert f"triage-agent@{role}" in page
    assert f"triage-agent@{role}" in unit
    assert "serve --role %i " in unit


def test_every_table_is_on_the_map():
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    assert [table.name for table in Base.metadata.sorted_tables if f"`{table.name}`" not in page] == []


def test_the_changelog_names_every_migration():
    rows = re.findall(r"^\| (\d{4}[\d, to]*) \|", CHANGELOG, flags=re.MULTILINE)
    named: set[int] = set()
    for row in rows:
        for part in row.split(","):
            first, _, last = part.strip().partition(" to ")
            named |= set(range(int(first), int(last or first) + 1))
    assert named == {int(file.name[:4]) for file in (migrations_folder() / "versions").glob("[0-9]*.py")}


def test_no_heading_of_a_version_in_the_changelog_stands_twice():
    for version in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.+)$", version, flags=re.MULTILINE)
        assert len(headings) == len(set(headings)), version.splitlines()[0]


def test_the_changelog_names_every_command():
    (line,) = re.findall(r"^- Commands: (.+?\.) Each", CHANGELOG, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([a-z-]+)`", line)) == set(get_command(application()).commands)
