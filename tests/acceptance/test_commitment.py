"""Storage commitment with Orthanc on the other side, both ways, and with the agent killed in between."""

import pytest
from support.agent import eventually
from support.orthanc import orthanc_server
from support.xrays import radiograph

pytestmark = pytest.mark.external

QUICK = """
[delivery]
first_retry_seconds = 0.2
longest_retry_seconds = 1
commit_answer_seconds = 3
commit_asks = 20
"""


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def knowing(agent, calm_bundle, orthanc):
    """Starts an agent that knows Orthanc."""
    knows = {"pacs_port": orthanc.port, "may": ["store", "query", "commit"], "commit": True, "tables": QUICK}
    return lambda **role: agent(bundle=calm_bundle, **knows, **role)


@pytest.fixture
def site(knowing, orthanc):
    """An agent that Orthanc knows, too."""
    running = knowing()
    orthanc.knows(running)
    return running


@pytest.fixture
def image(orthanc, tmp_path):
    """A radiograph that Orthanc has: (data set, its number there)."""
    data_set = radiograph()
    data_set.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    return data_set, orthanc.upload(tmp_path / "image.dcm")


def named(data_set):
    return [str(data_set.SOPClassUID), str(data_set.SOPInstanceUID)]


def answered(orthanc, transaction_uid):
    """What Orthanc was told once it was."""
    return eventually(lambda: (said := orthanc.commitment(transaction_uid))[0] != "Pending" and said)


def test_orthanc_is_told_what_is_kept_of_what_it_sent_and_what_is_not(orthanc, site, image):
    data_set, number = image
    orthanc.store_at_agent(number)
    kept = answered(orthanc, orthanc.ask_for_commitment(named(data_set)))
    assert kept == ("Success", {data_set.SOPInstanceUID}, {})
    mixed = answered(orthanc, orthanc.ask_for_commitment(named(data_set), [str(data_set.SOPClassUID), "1.2.3.4"]))
    assert mixed == ("Failure", {data_set.SOPInstanceUID}, {"1.2.3.4": 0x0112})
    # Counted once it is marked, which is after Orthanc has heard.
    eventually(lambda: 'triage_commitment_answers_total{outcome="failed"} 1.0' in site.get("metrics")[1])
    assert 'triage_commitment_requests_total{status="0x0000"} 2.0' in site.get("metrics")[1]


def asked_and_killed(orthanc, site, data_set):
    """A question that the agent took and did not come to answer."""
    for _ in range(10):
        transaction_uid = orthanc.ask_for_commitment(named(data_set))
        site.kill()
        if orthanc.commitment(transaction_uid)[0] == "Pending":
            return transaction_uid
        site.start()  # it was quicker
    raise AssertionError("it answers before it can be killed")


def test_a_request_is_answered_by_the_agent_that_follows_one_that_was_killed(orthanc, site, image):
    data_set, number = image
    orthanc.store_at_agent(number)
    transaction_uid = asked_and_killed(orthanc, site, data_set)
    site.start()
    assert answered(orthanc, transaction_uid) == ("Success", {data_set.SOPInstanceUID}, {})


def delivery(site, data_set):
    """The one delivery of a study, once the study is settled."""
    site.settled(data_set.StudyInstanceUID)
    (found,) = site.study(data_set.StudyInstanceUID)["deliveries"]
    return found


def committed(site, data_set):
    return eventually(lambda: (found := delivery(site, data_set))["state"] == "committed" and found)


def test_a_report_that_orthanc_keeps_is_delivered_and_then_committed(orthanc, site, image):
    data_set, number = image
    orthanc.store_at_agent(number)
    found = committed(site, data_set)
    assert site.item(data_set.StudyInstanceUID)["status"] == "delivered"
    assert found["committed_at"] >= found["sent_at"]
    assert found["last_error"] is None
    assert [report.SOPInstanceUID for report in orthanc.reports(data_set.StudyInstanceUID)] == [found["uid"]]
    actions = site.actions(data_set.StudyInstanceUID)
    assert actions.index("delivery_sent") < actions.index("delivery_committed")
    shown = site.cli("study", str(data_set.StudyInstanceUID))
    assert "committed" in shown.stdout


def test_a_report_is_committed_though_the_agent_was_killed_after_it_had_asked(orthanc, site, image):
    data_set, number = image
    orthanc.store_at_agent(number)
    eventually(lambda: "commitment_asked" in site.log_text, every=0.01)
    site.kill()
    site.start()
    assert committed(site, data_set)["attempts"] == 1


def test_a_listener_and_a_worker_in_two_processes_do_the_same(orthanc, knowing, image):
    data_set, number = image
    listener = knowing(role="listener")
    knowing(role="worker", shares_data_with=listener)
    orthanc.knows(listener)
    orthanc.store_at_agent(number)
    assert answered(orthanc, orthanc.ask_for_commitment(named(data_set)))[0] == "Success"
    assert committed(listener, data_set)["attempts"] == 1


def test_check_says_that_orthanc_takes_storage_commitment(site):
    lines = [line for line in site.cli("check").stdout.splitlines() if "commitment by pacs" in line]
    assert len(lines) == 1
    assert "accepts storage commitment" in lines[0]
