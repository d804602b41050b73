"""The command `conformance`, in this process."""

import json

import pytest
from typer.testing import CliRunner

from triage_agent.cli.app import app


@pytest.fixture
def site(tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text('institution = "Ward \\u001b[31m"\n[dicom]\nae_title = "HERE"\n')
    return config


def run(*words):
    return CliRunner().invoke(app, ["conformance", *map(str, words)])


def test_it_prints_markdown(site):
    done = run("--config", site)
    assert done.exit_code == 0
    assert done.stdout.startswith("# DICOM conformance statement of triage-agent")
    assert "application entity HERE" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("name", "words", "beginning"),
    [
        ("a.html", (), "<!DOCTYPE html>"),
        ("a.md", (), "# DICOM"),
        ("a.txt", ("--format", "html"), "<!DOCTYPE html>"),
    ],
)
def test_it_writes_a_file_in_the_form_that_its_name_says(site, tmp_path, name, words, beginning):
    out = tmp_path / name
    done = run("--config", site, "--out", out, *words)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert out.read_text(encoding="utf-8").startswith(beginning)


def test_it_is_one_json_document_for_programs(site):
    made = json.loads(run("--config", site, "--json").stdout)
    assert [section["title"] for section in made["sections"]][:3] == ["Overview", "Introduction", "Networking"]


def test_a_file_that_cannot_be_written_is_said(site, tmp_path):
    done = run("--config", site, "--out", tmp_path / "nowhere" / "a.md")
    assert "No such file or directory" in str(done.exception)


def test_json_goes_nowhere_else(site, tmp_path):
    done = run("--config", site, "--json", "--out", tmp_path / "a.json")
    assert "--json goes to stdout" in str(done.exception)
    assert not (tmp_path / "a.json").exists()
