"""The command `conformance`: what it prints, and where it writes."""

import json

import pytest


@pytest.fixture
def site(tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text('institution = "Ward \\u001b[31m"\n[dicom]\nae_title = "HERE"\n')
    return config


def test_it_prints_markdown(run, site):
    done = run("conformance", "--config", site)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("# DICOM conformance statement of triage-agent")
    assert "application entity HERE" in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    ("name", "words", "beginning"),
    [
        ("a.html", (), "<!DOCTYPE html>"),
        ("a.md", (), "# DICOM"),
        ("a.txt", ("--format", "html"), "<!DOCTYPE html>"),
    ],
)
def test_it_writes_a_file_in_the_form_that_its_name_says(run, site, tmp_path, name, words, beginning):
    out = tmp_path / name
    done = run("conformance", "--config", site, "--out", out, *words)
    assert (done.code, done.out) == (0, "")
    assert out.read_text(encoding="utf-8").startswith(beginning)


def test_it_is_one_json_document_for_programs(run, site):
    made = json.loads(run("conformance", "--config", site, "--json").out)
    assert [section["title"] for section in made["sections"]][:3] == ["Overview", "Introduction", "Networking"]


def test_it_makes_no_worklist_and_no_folder(run, site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("conformance", "--config", site).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["agent.toml"]


def test_a_file_that_cannot_be_written_is_said_in_one_line(run, site, tmp_path):
    out = tmp_path / "nowhere" / "a.md"
    done = run("conformance", "--config", site, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"triage-agent: {out}: No such file or directory; name a file that can be written\n"
