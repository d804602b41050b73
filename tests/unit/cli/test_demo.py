"""`demo`: what it takes from a site's configuration, what it sends, what it shows."""

import inspect
import re
import secrets
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pydicom import Dataset

from triage_agent.cli import demo
from triage_agent.cli.options import stdout
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.settings import Settings
from triage_agent.signing_in import link_to, write_link

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


def test_what_is_sent_by_default_shows_orders_and_findings():
    default = inspect.signature(demo.demo).parameters
    drawn = demo._drawn(default["studies"].default, default["seed"].default)
    assert 3 <= sum(abnormal for abnormal, _ in drawn) <= 5
    assert any(stat for _, stat in drawn)


def test_a_sender_that_cannot_start_is_a_failure_and_no_long_wait(monkeypatch):
    monkeypatch.setitem(sys.modules, "triage_agent.simulation.phantom", None)
    hospital = demo._Hospital(None, None)
    demo._send_all(hospital, Settings(), 1, 0)
    assert hospital.failure.startswith("ModuleNotFoundError")


@pytest.fixture
def delivered():
    """A dozen studies and their reports, as the demonstration has them at its end."""
    reports, items = [], []
    for number in range(12):
        report = Dataset()
        report.Modality, report.StudyInstanceUID, report.AccessionNumber = "SR", f"1.2.{number}", f"PA{number:010}"
        reports.append(report)
        items.append(
            WorklistItem(
                **dict.fromkeys(field.name for field in fields(WorklistItem))
                | {
                    "study_instance_uid": f"1.2.{number}",
                    "accession_number": f"PA{number:010}",
                    "patient_name": "Phantom^Number",
                    "status": Status.DELIVERED,
                    "priority": Priority.URGENT,
                    "finding": "abnormal",
                    "probability": 0.58,
                    "instances": 3,
                    "received_at": datetime.now(UTC),
                }
            )
        )
    return SimpleNamespace(reports=reports, sent=12, ris=SimpleNamespace(messages=[""] * 12)), items


def test_a_terminal_of_24_lines_has_room_for_the_list_a_line_a_report_and_how_it_ends(delivered, monkeypatch, capsys):
    monkeypatch.setattr(stdout, "_width", 80)
    monkeypatch.setattr(stdout, "_height", 24)
    stdout.print(demo._screen(delivered[1], delivered[0], Settings(), 12))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 24
    assert "SR for PA0000000011: abnormal, 0.58, urgent\n" in re.sub(r" +\n", "\n", shown)
    assert "All delivered. Ctrl-C ends it; the reports are printed then" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_a_reason_takes_one_line_of_the_list_so_that_all_studies_stay_in_sight(delivered, monkeypatch, capsys, width):
    hospital, items = delivered
    items = [replace(item, status_reason="at the error rate of 10 % this cannot be settled") for item in items]
    monkeypatch.setattr(stdout, "_width", width)
    monkeypatch.setattr(stdout, "_height", 30)
    stdout.print(demo._screen(items, hospital, Settings(), 12))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 30
    assert len(re.findall(r"delivered: .*…", shown)) == 12


def test_the_link_for_the_first_sign_in_is_shown_whole_with_what_is_asked_there(
    delivered, monkeypatch, capsys, tmp_path
):
    settings = Settings(data_dir=tmp_path, web={"port": 54321})
    link = link_to(settings, secrets.token_urlsafe(32))
    write_link(tmp_path / "first-sign-in", link)
    monkeypatch.setattr(stdout, "_width", 80)
    monkeypatch.setattr(stdout, "_height", 24)
    stdout.print(demo._screen(delivered[1], delivered[0], settings, 12))
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 24
    at = next(number for number, line in enumerate(shown) if link in line)
    assert "a password for `admin` and an authenticator app" in shown[at + 1]


def test_a_link_that_a_kept_folder_has_from_another_time_is_not_shown(delivered, capsys, tmp_path):
    write_link(tmp_path / "first-sign-in", link_to(Settings(web={"port": 54321}), "secret"))
    stdout.print(demo._screen(delivered[1], delivered[0], Settings(data_dir=tmp_path, web={"port": 54322}), 12))
    assert "Pages:" not in capsys.readouterr().out


def test_a_terminal_of_many_lines_has_every_report(delivered, monkeypatch, capsys):
    monkeypatch.setattr(stdout, "_width", 120)
    monkeypatch.setattr(stdout, "_height", 60)
    stdout.print(demo._screen(delivered[1], delivered[0], Settings(), 12))
    assert capsys.readouterr().out.count("SR for PA") == 12


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_last_reports_are_printed_in_full_at_the_end(delivered, monkeypatch, capsys, is_terminal):
    hospital, items = delivered
    hospital.truth, hospital.failure = {}, None
    monkeypatch.setattr("triage_agent.results.words.report_in_words", lambda report: [str(report.AccessionNumber)])
    monkeypatch.setattr(demo.sys.stdout, "isatty", lambda: is_terminal)
    demo._print_result(items, hospital, 1.0, done=True, as_json=False)
    assert capsys.readouterr().out.count("SR received by the PACS") == 3
