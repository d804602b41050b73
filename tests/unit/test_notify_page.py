"""What docs/integration/notify.md has a site copy works."""

import re
import tomllib
from pathlib import Path

from triage_agent.settings import build_settings

PAGE = Path(__file__).parents[2] / "docs" / "integration" / "notify.md"


def test_the_configuration_on_the_page_of_notices_is_one(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    secret = tmp_path / "secret"
    secret.write_text("https://chat.example/hooks/x")
    given = re.sub(r'"/run/secrets/[a-z]+"', f'"{secret}"', block)
    settings = build_settings(tomllib.loads(given), "docs/integration/notify.md")
    assert [channel.name for channel in settings.notify.channels] == ["pacs-admins", "reading-room"]
