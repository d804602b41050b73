"""What the pages for whoever sets up both sides have a site copy works, and what they name is there."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from triage_agent.cli.app import application
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs" / "integration.md",
    ROOT / "docs" / "conformance.md",
    *(ROOT / "docs" / "integration").glob("*.md"),
]
# Peers that a page's fragments may speak of, where they do not say themselves what these are.
DICOM = {"name": "pacs", "ae_title": "PACS", "host": "pacs.hospital", "port": 104, "may": ["store"]}
# Words that look like ours and are others': HTTP, DICOM JSON, dcmtk, Python, FHIR.
NOT_OURS = {"send_c_find", "add_requested_context"}


def per_page(pages=PAGES):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


def code_of(page):
    """The words in backticks, those of fenced blocks left out."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


@pytest.fixture(scope="module")
def sources():
    """The text of all that we wrote: code and the explained configuration."""
    files = [*(ROOT / "triage_agent").rglob("*.py"), ROOT / "config" / "agent.toml"]
    return "\n".join(file.read_text() for file in files)


@per_page()
def test_every_configuration_on_a_page_is_one(page):
    for written in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        # Files of secrets are on the site's machines, not here.
        block = re.sub(r'^(token|password|secret)_file = ".*?"', rf'\1 = "{"x" * 32}"', written, flags=re.MULTILINE)
        block = re.sub(r'^url_file = ".*?"', 'url = "https://site.example/hook"', block, flags=re.MULTILINE)
        values = tomllib.loads(block)
        named = {
            peer["name"]
            for table in ("dicom", "hl7", "dicomweb", "fhir")
            for peer in values.get(table, {}).get("peers", ())
        }
        if "pacs" in {route["to"] for route in values.get("routes", ())} - named:
            values.setdefault("dicom", {}).setdefault("peers", []).append(DICOM)
        build_settings(values, page.name)


@per_page()
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@per_page()
def test_every_command_of_a_page_is_one(page):
    known = get_command(application()).commands
    said = [*code_of(page), *re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)]
    for word in re.findall(r"^triage-agent ([a-z-]+)", "\n".join(said), re.MULTILINE):
        assert word in known, word


@per_page()
def test_every_metric_of_a_page_is_exposed(page):
    exposed = {sample.name for family in Metrics().registry.collect() for sample in [*family.samples, family]}
    exposed |= {f"{family.name}_total" for family in Metrics().registry.collect() if family.type == "counter"}
    for name in re.findall(r"\b(triage_[a-z0-9_]+)", page.read_text()):
        assert name in exposed, name


@per_page()
def test_every_word_of_ours_on_a_page_stands_in_the_sources(page, sources):
    """Log events, keys, statuses and permissions."""
    for word in code_of(page):
        ours = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", word) and not word.startswith("triage_")
        if ours and word not in NOT_OURS:
            assert re.search(rf"\b{word}\b", sources), word


def test_the_page_of_hl7_shows_a_peer_with_fields_of_its_own():
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "integration" / "hl7.md").read_text(), re.DOTALL)
    settings = build_settings(tomllib.loads(block), "docs/integration/hl7.md")
    assert [peer.name for peer in settings.hl7.peers] == ["ris"]
    assert [kind.value for kind in settings.routes[0].send] == ["hl7-oru", "hl7-omi"]
    assert len(settings.hl7.peers[0].fields) == 4


@per_page([page for page in PAGES if page.parent.name == "integration" and page.name != "codes.md"])
def test_a_page_says_both_sides_and_how_to_see_that_it_works(page):
    text = page.read_text().lower()
    assert "```" in text  # something real
    assert re.search(r"see that it works|see that the", text), "how to see that it works"
