"""docs/deployment.md names what there is: its links lead somewhere, and every drop-in, image and component is on it."""

import re

import pytest
from support.deployed import DEPLOY, ROOT, stages

from triage_agent.cli.serving import Role

PAGE = (ROOT / "docs" / "deployment.md").read_text()


def anchors(page):
    """The anchors of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_a_link_leads_to_a_page_and_to_a_heading_of_it(link):
    file, _, anchor = link.partition("#")
    page = ROOT / "docs" / file
    assert page.exists()
    assert not anchor or anchor in anchors(page)


def test_it_says_what_every_drop_in_image_role_and_component_is_for():
    wanted = {file.name for file in (DEPLOY / "systemd").glob("*.conf")}
    wanted |= {
        name for name in stages(DEPLOY / "docker" / "Dockerfile") if name in {"listener", "worker", "worker-gpu"}
    }
    wanted |= {folder.name for folder in (DEPLOY / "kubernetes" / "components").iterdir()}
    wanted |= {role.value for role in Role}
    assert [name for name in sorted(wanted) if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", PAGE)] == []


def test_the_readme_and_the_page_for_operators_lead_to_it():
    for name in ("README.md", "docs/operations.md"):
        assert "deployment.md" in (ROOT / name).read_text()
