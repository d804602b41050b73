"""Studies are fetched from a PACS: by themselves when images are missing, and by command; through kill -9 as well."""

import json
import os
import threading
from pathlib import Path

import pytest
from support import warm
from support.agent import COMMAND, eventually
from support.archives import PENDING, ScriptedArchive, fill, introduce, running, sends_all
from support.orthanc import orthanc_server
from support.xrays import radiograph, send

QUIET_SECONDS = 0.5


def views(number):
    """So many views of one knee, each in a series of its own, as files of radiographs that can be scored."""
    first = radiograph(seed=1)
    rest = [radiograph(seed=seed, study=first.StudyInstanceUID) for seed in range(2, number + 1)]
    return [first, *rest]


def tables(port, way="move", **study):
    """An archive to fetch from, beside the PACS that the reports go to; how fast and how often."""
    keys = {"quiet_seconds": QUIET_SECONDS, "fetch_pause_seconds": 0.2, **study}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in keys.items())
    return f"""
[[dicom.peers]]
name = "archive"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
may = ["store"]
retrieve = "{way}"
[study]
{lines}
"""


MISSING = {"ask_peer": "archive", "fetch_missing": True, "ask_after_seconds": 0.2}


@pytest.fixture
def site(agent, pacs, tiny_bundle):
    """An agent with an archive: `site(archive port, way=..., start=..., **study)`."""

    def make(port, way="move", start=True, **study):
        return agent(bundle=tiny_bundle, pacs_port=pacs.port, tables=tables(port, way, **study), start=start)

    return make


def decisions(agent, uid):
    return agent.actions(uid).count("decision_made")


@pytest.fixture
def orthanc(tmp_path):
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with orthanc_server(folder) as server:
        yield server


def files(folder, data_sets):
    folder.mkdir()
    for number, one in enumerate(data_sets):
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


@pytest.mark.external
@pytest.mark.parametrize("way", ["move", "get"])
def test_what_orthanc_has_more_of_is_fetched_before_the_study_is_decided(site, orthanc, tmp_path, way):
    knee = views(4)
    fill(orthanc.port, files(tmp_path / "files", knee))
    agent = site(orthanc.port, way, **MISSING)
    introduce(orthanc, agent.port)
    send(agent.port, *knee[:2])
    (item,) = agent.settled(knee[0].StudyInstanceUID)
    assert (item["status"], item["instances"], item["revision"]) == ("delivered", 4, 1)
    assert decisions(agent, knee[0].StudyInstanceUID) == 1
    detail = agent.study(knee[0].StudyInstanceUID)
    assert not any("incomplete" in reason for reason in detail["reasons"])
    assert (detail["retrieval"]["state"], detail["retrieval"]["expected"]) == ("done", 4)


@pytest.mark.external
@pytest.mark.parametrize("way", ["move", "get"])
def test_a_study_that_is_named_is_fetched_from_orthanc(site, orthanc, tmp_path, way):
    knee = views(3)
    uid = str(knee[0].StudyInstanceUID)
    fill(orthanc.port, files(tmp_path / "files", knee))
    agent = site(orthanc.port, way, start=way == "move")
    introduce(orthanc, agent.port)
    if way == "get":  # no listener, the same spool and database
        assert agent.cli("db", "upgrade").returncode == 0
    done = agent.cli("fetch", "--accession", "A1", "--from", "archive", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["study_instance_uid"], said["complete"], said["here"], said["expected"]) == (uid, True, 3, 3)
    assert (said["fetched"], said["missing"], said["sub_operations"]["completed"]) == (3, 0, 3)
    assert agent.item(uid)["instances"] == 3
    again = agent.cli("fetch", uid, "--from", "archive")
    assert (again.returncode, again.stdout.strip()) == (0, "3 of 3 images are here, 0 fetched from archive")
    unknown = agent.cli("fetch", "2.25.42", "--from", "archive")
    assert unknown.returncode == 1
    assert unknown.stderr.strip().splitlines()[-1].endswith("archive has no such study")
    nobody = agent.cli("fetch", uid, "--from", "pacs")
    assert nobody.returncode == 2
    assert "nothing says how to fetch from pacs" in nobody.stderr


def test_a_study_is_not_dispatched_before_all_moves_have_finished(site):
    """Each image of the move takes longer than the quiet period."""
    knee = views(4)
    uid = knee[0].StudyInstanceUID
    archive, pause, seen = ScriptedArchive(knee), threading.Event(), []

    def slowly(archive, event):
        answers = sends_all(archive, event)
        yield next(answers)
        yield next(answers)
        for answer in answers:
            pause.wait(QUIET_SECONDS * 4)
            seen.append(agent.item(uid)["status"])
            yield answer

    archive.moves = [slowly, slowly, slowly]
    with running(archive) as port:
        agent = site(port, **MISSING)
        archive.destination = agent.port
        send(agent.port, knee[0])
        held = eventually(lambda: (item := agent.item(uid)) and item["status_reason"] and item)
        assert "archive" in held["status_reason"]
        (item,) = agent.settled(uid)
    assert seen
    assert set(seen) == {"receiving"}
    assert (item["instances"], item["revision"], decisions(agent, uid)) == (4, 1, 1)


def test_a_study_that_stays_incomplete_is_decided_and_says_what_was_missing(site):
    knee = views(2)
    uid = knee[0].StudyInstanceUID
    archive = ScriptedArchive(knee)
    archive.promised = 4
    with running(archive) as port:
        agent = site(port, **MISSING, fetch_tries=2)
        archive.destination = agent.port
        send(agent.port, knee[0])
        (item,) = agent.settled(uid)
    assert (item["status"], item["instances"], item["revision"]) == ("delivered", 2, 1)
    assert "The study is incomplete: 2 of 4 images; archive did not send 2." in agent.study(uid)["reasons"]
    assert len(archive.asked) == 2


def test_a_fetch_that_kill_9_ends_goes_on_after_the_restart(site):
    knee = views(3)
    uid = knee[0].StudyInstanceUID
    archive, first, stop = ScriptedArchive(knee), threading.Event(), threading.Event()

    def stuck(archive, event):
        answers = sends_all(archive, event)
        for _ in range(3):  # the destination, the number, one image
            yield next(answers)
        first.set()
        stop.wait(60)
        yield PENDING, None

    archive.moves = [stuck]
    with running(archive) as port:
        agent = site(port, **MISSING)
        archive.destination = agent.port
        send(agent.port, knee[0])
        assert first.wait(60)
        eventually(lambda: agent.item(uid)["instances"] == 2)
        agent.kill()
        stop.set()
        agent.start()
        (item,) = agent.settled(uid)
    assert (item["status"], item["instances"], item["revision"]) == ("delivered", 3, 1)
    assert decisions(agent, uid) == 1
    assert agent.study(uid)["retrieval"]["attempts"] == 2


def test_what_a_killed_command_was_fetching_the_agent_fetches(site):
    knee = views(3)
    uid = str(knee[0].StudyInstanceUID)
    archive, first, stop = ScriptedArchive(knee), threading.Event(), threading.Event()

    def stuck(archive, event):
        answers = sends_all(archive, event)
        for _ in range(3):
            yield next(answers)
        first.set()
        stop.wait(60)
        yield PENDING, None

    archive.moves = [stuck]
    with running(archive) as port:
        agent = site(port)
        archive.destination = agent.port
        command = [COMMAND, "fetch", uid, "--from", "archive", "--config", agent.config]
        with Path(os.devnull).open("wb") as nowhere:
            fetching = warm.start(command, stdout=nowhere, stderr=nowhere)
            assert first.wait(60)
            fetching.kill()
            fetching.wait(60)
        stop.set()
        (item,) = agent.settled(uid)
    assert (item["instances"], item["revision"], decisions(agent, uid)) == (3, 1, 1)
