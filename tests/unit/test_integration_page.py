"""What docs/integration/hl7.md has a site copy works."""

import re
import tomllib
from pathlib import Path

from triage_agent.settings import build_settings

PAGE = Path(__file__).parents[2] / "docs" / "integration" / "hl7.md"


def test_the_configuration_on_the_page_of_hl7_is_one():
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    settings = build_settings(tomllib.loads(block), "docs/integration/hl7.md")
    assert [peer.name for peer in settings.hl7.peers] == ["ris"]
    assert [kind.value for kind in settings.routes[0].send] == ["hl7-oru", "hl7-omi"]
    assert len(settings.hl7.peers[0].fields) == 4
