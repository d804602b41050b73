"""What `demo` takes from a site's configuration."""

from types import SimpleNamespace

import pytest

from triage_agent.cli import demo
from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import Settings

HOSPITAL = SimpleNamespace(
    pacs=SimpleNamespace(ae_title="PACS", port=11115),
    ris=SimpleNamespace(port=2575),
)
SITE = """
institution = "St. Elsewhere"
data_dir = "/srv/triage"
[model]
bundle = "/srv/bundle"
device = "cpu"
[[policy.rules]]
name = "all"
when = { finding = "normal" }
priority = "stat"
"""


def test_the_site_s_model_and_rules_are_demonstrated_and_its_data_left_alone(tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text(SITE)
    settings = demo._settings(tmp_path / "demo", HOSPITAL, demo._site(config))
    assert (settings.institution, settings.model.bundle) == ("St. Elsewhere", "/srv/bundle")
    assert settings.model.device == "cpu"
    assert [rule.name for rule in settings.policy.rules] == ["all"]
    assert settings.data_dir == tmp_path / "demo"
    assert [peer.name for peer in settings.dicom.peers] == ["pacs"]


def test_without_a_configuration_it_is_the_embedded_model_with_the_built_in_rules(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT_CONFIG", str(tmp_path / "the-hospital-s.toml"))
    settings = demo._settings(tmp_path / "demo", HOSPITAL, demo._site(None))
    assert settings.institution == "Demonstration Hospital"
    assert (settings.model, settings.policy) == (Settings().model, Settings().policy)


@pytest.mark.parametrize(("variable", "value"), [("DICOM__AE_TITLE", "A\\B"), ("DICM__PORT", "104")])
def test_what_the_environment_says_wrongly_is_a_wrong_configuration(tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(f"TRIAGE_AGENT__{variable}", value)
    with pytest.raises(ConfigurationError):
        demo._settings(tmp_path, HOSPITAL, {})
