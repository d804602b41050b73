"""The commands as people and scripts type them: exit codes, one-line errors, JSON."""

import json
import shutil
import socket
import sqlite3
import threading
import time

import pytest
from pydicom import dcmread
from support.agent import Agent, cold, eventually, free_port, triage_agent
from support.xrays import radiograph, send, truncated

# INTERFACE.md, in its order.
ITEM_KEYS = [
    *("study_instance_uid", "accession_number", "patient_id", "patient_name", "anatomy", "modality", "status"),
    *("status_reason", "revision", "priority", "priority_at_arrival", "finding", "probability", "acr_category"),
    *("rule", "bundle", "instances", "received_at", "flagged_at", "decided_at", "delivered_at"),
]
# A delivery is given up after a second or two, so that `retry` has something to do.
GIVE_UP = "[delivery]\nfirst_retry_seconds = 0.1\nlongest_retry_seconds = 0.1\ngive_up_after_hours = 0.0001\n"


@pytest.fixture(scope="module")
def hospital(shared_agent, shared_pacs, alarming_bundle):
    return shared_agent(cold=True, bundle=alarming_bundle, pacs_port=shared_pacs.port, tables=GIVE_UP)


@pytest.fixture
def delivered(hospital):
    """A study that has come to its end."""
    image = radiograph(PatientName="Åkesson^Eva", AccessionNumber="ACC7")
    send(hospital.port, image)
    (item,) = hospital.settled(image.StudyInstanceUID)
    assert item["status"] == "delivered"
    return image.StudyInstanceUID


@pytest.fixture
def configured(tmp_path):
    """Writes a configuration; returns its path."""

    def write(text):
        path = tmp_path / "agent.toml"
        path.write_text(f'data_dir = "{tmp_path}/var"\n{text}')
        return path

    return write


def only_line(done):
    """What a command that failed said, which must be one line."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("triage-agent: ")
    assert done.stdout == ""
    return line


# --- the worklist ----------------------------------------------------------------------------------------------------
def test_the_worklist_is_printed_as_json_with_the_keys_of_the_interface(hospital, delivered):
    done = hospital.cli("worklist", "--json", "--limit", 1000)
    assert (done.returncode, done.stderr) == (0, "")
    items = json.loads(done.stdout)
    assert [list(item) for item in items] == [ITEM_KEYS] * len(items)
    item = next(item for item in items if item["study_instance_uid"] == delivered)
    assert (item["patient_name"], item["accession_number"]) == ("Åkesson^Eva", "ACC7")
    assert (item["anatomy"], item["modality"], item["instances"]) == ("XR_KNEE", "DX", 1)
    for name in ("received_at", "decided_at", "delivered_at"):
        assert item[name].endswith("+00:00")
    assert item == hospital.item(delivered)  # what other tests look at


def test_the_worklist_can_be_narrowed_and_is_readable_on_a_terminal(hospital, delivered):
    done = hospital.cli("worklist", "--status", "needs_human", "--json")
    assert delivered not in done.stdout
    shown = cold("worklist", "--config", hospital.config, COLUMNS="200")
    assert shown.returncode == 0
    assert "URGENT" in shown.stdout
    assert "delivered" in shown.stdout


def test_a_study_is_told_whole_as_json(hospital, delivered):
    done = hospital.cli("study", delivered, "--json")
    assert done.returncode == 0
    detail = json.loads(done.stdout)
    assert detail.keys() == {"item", "reasons", "instances", "deliveries", "audit", "shadow", "retrieval"}
    assert detail["item"]["finding"] == "abnormal"
    assert detail["reasons"]
    assert [one["assessment"]["outcome"] for one in detail["instances"]] == ["scored"]
    (delivery,) = detail["deliveries"]
    assert (delivery["kind"], delivery["destination"], delivery["state"]) == ("sr", "pacs", "sent")
    assert {"instance_received", "decision_made", "delivery_sent"} <= {event["action"] for event in detail["audit"]}


def test_a_study_that_is_not_there_is_a_failure_of_one_line(hospital):
    for command in ("study", "retry"):
        done = hospital.cli(command, "1.2.3.4")
        assert done.returncode == 1
        assert "no study 1.2.3.4" in only_line(done)


def test_retry_sends_what_the_pacs_refused_for_too_long(hospital, shared_pacs):
    image = radiograph(seed=3)
    shared_pacs.out_of_resources = True
    try:
        send(hospital.port, image)
        eventually(lambda: "delivery_dead" in hospital.actions(image.StudyInstanceUID))
        item = hospital.item(image.StudyInstanceUID)
        assert item["status"] == "decided"
        assert "delivery of sr to pacs failed" in item["status_reason"]
        assert "0xA700" in item["status_reason"]
    finally:
        shared_pacs.out_of_resources = False
    done = hospital.cli("retry", image.StudyInstanceUID, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"put_back": 1})
    (item,) = hospital.settled(image.StudyInstanceUID)
    assert (item["status"], item["status_reason"], item["revision"]) == ("delivered", None, 1)
    reports = [each for each in shared_pacs.objects if each.StudyInstanceUID == image.StudyInstanceUID]
    assert len(reports) == 1


# --- wrong usage and wrong configuration -----------------------------------------------------------------------------
def test_an_unknown_key_is_named_with_the_nearest_known_one(configured):
    done = triage_agent("worklist", config=configured('[dicom]\nae_tilte = "X"\n'))
    assert done.returncode == 2
    assert "'dicom.ae_tilte'; did you mean 'ae_title'?" in only_line(done)


def test_an_unknown_variable_of_the_environment_is_an_error_too(configured):
    done = triage_agent("worklist", config=configured(""), TRIAGE_AGENT__DICM__PORT="1")
    assert done.returncode == 2
    assert "did you mean 'dicom'?" in only_line(done)


def test_wrong_usage_ends_with_two():
    for arguments in (["serve", "--role", "boss"], ["no-such-command"]):  # the others are tried without a process each
        done = cold(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("section", ["dicom", "web"])
def test_serve_says_in_one_line_that_its_port_is_taken(configured, section):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"dicom": free_port(), "web": free_port(), section: taken.getsockname()[1]}
        toml = "".join(f"[{name}]\nport = {port}\n" for name, port in ports.items())
        done = triage_agent("serve", "--role", "listener", config=configured(f'{toml}[logging]\nlevel = "error"\n'))
    assert done.returncode == 2
    line = only_line(done)
    assert f"cannot listen on 127.0.0.1:{ports[section]}" in line
    assert f"[{section}]" in line


@pytest.mark.parametrize("role", ["all", "worker"])
def test_serve_with_a_bundle_that_cannot_be_loaded_ends_before_it_listens(configured, tmp_path, role):
    ports = "".join(f"[{name}]\nport = {free_port()}\n" for name in ("dicom", "web"))
    config = configured(f'{ports}[model]\nbundle = "{tmp_path}/no-bundle"\n')
    done = triage_agent("serve", "--role", role, config=config)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("triage-agent: ")
    assert "no-bundle" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stderr  # what was received then could not be scored


def test_a_listener_needs_no_bundle(agent):
    running = agent(bundle="/no/bundle", role="listener")
    assert running.stop() == 0


# --- files -----------------------------------------------------------------------------------------------------------
def test_triage_scores_files_and_writes_a_report_a_study(tmp_path, alarming_bundle):
    image = radiograph()
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    (tmp_path / "readme.txt").write_text("no DICOM")
    done = triage_agent("triage", tmp_path, "--bundle", alarming_bundle, "--sr", tmp_path / "reports", "--json")
    assert done.returncode == 0, done.stderr
    (study,) = json.loads(done.stdout)
    assert list(study) == ["study_instance_uid", "finding", "probability", "priority", "reasons", "instances", "report"]
    assert (study["study_instance_uid"], study["finding"]) == (image.StudyInstanceUID, "abnormal")
    (instance,) = study["instances"]
    keys = ["sop_instance_uid", "path", "scored", "probability", "reason", "anatomy", "seen_anatomy"]
    assert list(instance) == keys
    assert (instance["path"], instance["scored"]) == (str(tmp_path / "image.dcm"), True)
    (report,) = (tmp_path / "reports").iterdir()
    assert study["report"] == str(report)
    assert dcmread(report).StudyInstanceUID == image.StudyInstanceUID


def test_stdout_is_one_document_whatever_is_wrong_with_the_files(tmp_path, tiny_bundle):
    images = {"whole": radiograph(), "cut": truncated(radiograph()), "nameless": radiograph(StudyInstanceUID=None)}
    for name, image in images.items():
        image.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    (tmp_path / "rubbish.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish")
    done = triage_agent(
        *("triage", *sorted(tmp_path.glob("*.dcm")), "--bundle", tiny_bundle, "--sr", tmp_path / "reports", "--json")
    )
    assert len(json.loads(done.stdout)) == 3
    assert done.returncode == 1  # there is no report of what names no study
    assert "result_failed" in done.stderr  # what was logged went where it belongs


def test_phantom_writes_studies_with_their_truth(tmp_path):
    done = triage_agent("phantom", tmp_path / "out", "--studies", 2, "--anatomy", "XR_WRIST", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    truth = (tmp_path / "out" / "truth.csv").read_text().splitlines()
    assert len(truth) >= 3
    files = list((tmp_path / "out").rglob("*.dcm"))
    assert len({dcmread(path, stop_before_pixels=True).StudyInstanceUID for path in files}) == 2
    assert triage_agent("phantom", tmp_path / "no", "--anatomy", "XR_TAIL").returncode == 2


def test_a_bundle_is_verified_against_its_digests(tmp_path, tiny_bundle):
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    assert triage_agent("bundle", "verify", copy).returncode == 0
    with (copy / "MODEL_CARD.md").open("a") as card:
        card.write("changed\n")
    done = triage_agent("bundle", "verify", copy, "--json")
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert facts["intact"] is False
    assert "MODEL_CARD.md" in " ".join(facts["problems"])


# --- the machine -----------------------------------------------------------------------------------------------------
def test_the_database_says_where_it_is(configured, tmp_path):
    config = configured("")
    assert triage_agent("db", "upgrade", config=config).returncode == 0
    revision = json.loads(triage_agent("db", "current", "--json", config=config).stdout)["revision"]
    assert revision
    with sqlite3.connect(tmp_path / "var" / "triage.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(revision,)]
    connection.close()


def test_check_looks_at_every_part_of_a_running_agent(hospital):
    done = hospital.cli("check", "--json")
    assert done.returncode == 0, done.stdout
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    assert findings.keys() == {
        "configuration",
        "audit",
        "database",
        "backlog",
        "disk",
        "spool",
        "model",
        "clock",
        "DICOM port",
        "web port",
        "peer pacs",
        "policy",
        "folder",
        "limits",
        "retention",
    }
    assert all(finding["ok"] and finding["says"] for finding in findings.values())
    assert "runs already" in findings["DICOM port"]["says"]


def test_check_names_the_peer_that_does_not_answer_and_what_to_do(tmp_path, tiny_bundle):
    away = Agent(tmp_path, bundle=tiny_bundle, pacs_port=free_port(), ris_port=free_port())
    done = away.cli("check", "--json")
    assert done.returncode == 1
    wrong = [finding for finding in json.loads(done.stdout) if not finding["ok"]]
    assert [finding["part"] for finding in wrong] == ["peer pacs", "peer ris"]
    assert wrong[0]["remedy"]


# --- serving ---------------------------------------------------------------------------------------------------------
def test_sigterm_ends_it_with_zero_while_it_receives_and_what_was_acknowledged_is_there(agent, pacs, calm_bundle):
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, quiet=30)
    images = [radiograph(seed=n) for n in range(300)]
    acknowledged = {}

    def send_all():
        acknowledged.update(send(running.port, *images))

    sender = threading.Thread(target=send_all, daemon=True)
    sender.start()
    eventually(lambda: len(running.worklist()) >= 3, every=0.02)
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 30
    log = running.log_text
    assert 0 < log.find("stopping") < log.find("stopped")
    sender.join(60)
    assert len(acknowledged) >= 3
    listed = {item["study_instance_uid"]: item for item in running.worklist()}
    assert {one.StudyInstanceUID for one in images if acknowledged.get(one.SOPInstanceUID) == 0} <= listed.keys()
    assert "scoring" not in {item["status"] for item in listed.values()}  # nothing is held by a process that has gone
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def test_a_listener_and_a_worker_work_on_one_list_as_two_processes(agent, pacs, reports, tiny_bundle):
    site = {"bundle": tiny_bundle, "pacs_port": pacs.port, "cold": True}
    listener = agent("listener", role="listener", **site)
    worker = agent("worker", role="worker", shares_data_with=listener, **site)
    image = radiograph()
    assert list(send(listener.port, image).values()) == [0x0000]
    (item,) = worker.settled(image.StudyInstanceUID)
    assert item["status"] == "delivered"
    assert len(reports(image.StudyInstanceUID)) == 1
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", worker.port)) != 0  # a worker receives nothing


def test_probes_answer_from_the_start_and_tell_what_is_not_ready(agent, calm_bundle):
    running = agent(bundle=calm_bundle, start=False).start(wait=False)
    status, body = eventually(lambda: (seen := running.get("readyz"))[0] and seen)
    assert status in {200, 503}
    if status == 503:
        assert "start" in json.loads(body)["problems"]
    assert running.get("healthz")[0] == 200
    eventually(running.ready)
    assert running.stop() == 0


def test_metrics_tell_what_was_answered_and_who_was_turned_away(agent):
    running = agent(bundle="/no/bundle", role="listener", pacs_port=free_port())
    image = radiograph()
    for _ in range(2):
        assert list(send(running.port, image).values()) == [0x0000]
    assert list(send(running.port, radiograph(StudyInstanceUID=None)).values()) == [0xA900]
    assert send(running.port, image, calling="STRANGER") == {}
    assert send(running.port, image, called="OTHER") == {}
    for line in (
        'triage_store_answers_total{status="0x0000"} 2.0',
        'triage_store_answers_total{status="0xA900"} 1.0',
        'triage_rejected_associations_total{reason="calling AE title not recognized"} 1.0',
        'triage_rejected_associations_total{reason="called AE title not recognized"} 1.0',
    ):
        eventually(lambda line=line: line in running.get("metrics")[1])


def test_the_reading_queue_is_answered_without_a_configuration():
    done = triage_agent("reading-queue", "--studies", 2000, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    diseased = answer["theory"]["groups"]["diseased"]
    assert [round(diseased[key], 3) for key in ("without", "with", "saved")] == [40.0, 6.355, 33.645]
    assert answer["simulation"]["groups"]["diseased"]["saved"]["value"] > 0
    wrong = triage_agent("reading-queue", "--load", 1.2)
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
