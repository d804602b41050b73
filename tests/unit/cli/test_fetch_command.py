"""`fetch`: what it refuses before it asks anybody, and what it says of what came."""

import json

import pytest
from support.archives import ScriptedArchive, running, study_files

PEER = '[[dicom.peers]]\nname = "{name}"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'


@pytest.fixture
def fetch(run, tmp_path):
    """Runs `fetch` with a database of its own and a peer that is asked by C-GET at a port."""

    def call(*arguments, port=1, way='retrieve = "get"\n', before="[study]\nfetch_tries = 1\n"):
        config = tmp_path / "agent.toml"
        storage = "[storage]\nlow_water_percent = 0\n"
        peer = PEER.format(name="pacs", port=port) + way
        config.write_text(f'data_dir = "{tmp_path}/var"\n{storage}{before}{peer}')
        assert run("db", "upgrade", "--config", config).code == 0
        return run("fetch", *arguments, "--config", config)

    return call


@pytest.mark.parametrize("names", [[], ["1.2.3", "--accession", "A1"]])
def test_one_study_is_named_one_way(fetch, names):
    done = fetch(*names, "--from", "pacs")
    assert done.code == 2
    assert "name one study" in done.err


def test_a_name_that_is_no_uid_is_told_from_an_accession_number(fetch):
    done = fetch("A1", "--from", "pacs")
    assert done.code == 2
    assert "--accession" in done.err


@pytest.mark.parametrize("name", ["*", "A?", "A1\\A2", " ", ""])
@pytest.mark.parametrize("option", [["--accession"], []])
def test_a_name_that_a_pacs_takes_for_many_is_refused_in_one_line(fetch, option, name):
    done = fetch(*option, name, "--from", "pacs")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "name one study whole" in done.err


@pytest.mark.parametrize(
    ("arguments", "way", "says"),
    [
        (["--from", "pacs"], "", "nothing says how to fetch from pacs"),
        (["--from", "pasc"], 'retrieve = "get"\n', "no [[dicom.peers]] is named 'pasc'; to fetch from there are: pacs"),
        ([], 'retrieve = "get"\n', "no peer to fetch from; name one with --from, or set study.ask_peer"),
    ],
)
def test_a_peer_that_cannot_be_fetched_from_is_refused_in_one_line(fetch, arguments, way, says):
    done = fetch("1.2.3", *arguments, way=way)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err


def test_a_pacs_that_is_away_is_one_line_and_nothing_is_held(fetch):
    done = fetch("1.2.3", "--from", "pacs", "--json")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no connection" in done.err
    said = json.loads(done.out[done.out.index("{\n") :])  # logs, which go to stderr, stand before it here
    assert (said["complete"], said["expected"], said["here"], said["tries"]) == (False, None, 0, 1)


def test_what_came_and_what_did_not_is_said(fetch, tmp_path):
    data_sets = study_files(tmp_path / "files")
    archive, uid = ScriptedArchive(data_sets), data_sets[0].StudyInstanceUID
    with running(archive) as port:
        whole = fetch(uid, "--from", "pacs", port=port)
        archive.promised = 5
        short = fetch("--accession", "A1", "--from", "pacs", port=port)
        nobody = fetch("--accession", "A2", "--from", "pacs", port=port)
    assert (whole.code, whole.out.splitlines()[-1]) == (0, "3 of 3 images are here, 3 fetched from pacs")
    assert short.code == 1
    assert "3 of 5 images are here: pacs says that it has sent all, and 2 of 2 images did not come" in short.err
    assert (nobody.code, "no study with the accession number A2" in nobody.err) == (1, True)


class Careless(ScriptedArchive):
    """Passes over the accession number that it is asked for."""

    def _matches(self, question):
        if question.QueryRetrieveLevel == "STUDY":
            question.AccessionNumber = ""
        yield from super()._matches(question)


def test_a_study_of_another_order_is_not_fetched_whatever_the_pacs_answers(fetch, tmp_path):
    files = study_files(tmp_path / "other", (1,), AccessionNumber="B7")
    with running(Careless(files)) as port:
        other = fetch("--accession", "A1", "--from", "pacs", port=port)
        padded = fetch("--accession", " B7 ", "--from", "pacs", port=port)
    assert (other.code, "no study with the accession number A1" in other.err) == (1, True)
    assert padded.code == 0


def test_several_studies_of_one_order_are_named(fetch, tmp_path):
    two = [*study_files(tmp_path / "one", (1,)), *study_files(tmp_path / "two", (1,))]
    with running(ScriptedArchive(two)) as port:
        done = fetch("--accession", "A1", "--from", "pacs", port=port)
    assert done.code == 1
    assert "2 studies with the accession number A1" in done.err
    assert all(one.StudyInstanceUID in done.err for one in two)
