"""Results at a FHIR server that is a test's own: what it has afterwards, and what it refuses."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from pydicom import Dataset
from support import story
from support.fhir_server import fhir_server, validated
from support.http_peer import Said

from triage_agent.delivery.registry import REGISTRY
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import Finding, Priority
from triage_agent.results.context import ResultContext
from triage_agent.results.fhir import build_fhir
from triage_agent.sections.fhir import FhirPeerSettings

STUDY = "1.2.840.99.1"
PATIENT = ("Lind", "Eva", "19611124")
ACCESSIONS = "urn:oid:1.2.3.4"


def header():
    dataset = Dataset()
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = STUDY, f"{STUDY}.1"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Lind^Eva", "P1", PATIENT[2]
    dataset.AccessionNumber, dataset.StudyDate, dataset.StudyTime = "A1", "20260301", "081500"
    return dataset


def artifact(result=None, **changes):
    result = result or story.decision(STUDY, priority=Priority.STAT, acr_category="1", probability=0.91234, **changes)
    return build_fhir(ResultContext(result=result, headers=(header(),)))


def order(**changes):
    return {
        "resourceType": "ServiceRequest",
        "id": "77",
        "identifier": [{"system": ACCESSIONS, "value": "A1"}],
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "subject": {"reference": "Patient/1"},
        **changes,
    }


@pytest.fixture
def site():
    """A server, and what makes a transport to it."""
    opened = []
    with fhir_server() as (server, peer):

        def transport(**settings):
            url = f"http://127.0.0.1:{peer.port}/fhir"
            opened.append(REGISTRY["fhir"](FhirPeerSettings(name="ehr", url=url, **settings).endpoint()))
            return opened[-1]

        server.peer, server.asked = peer, peer.asked
        yield server, transport
        for one in opened:
            one.close()


def nothing_found(server):
    """Answers to the searches for the report and for the task."""
    return [server.said(200, {"resourceType": "Bundle"})] * 2


def refusal(transport, sent=None):
    with pytest.raises(DeliveryError) as caught:
        transport.send(sent or artifact())
    assert not [word for word in PATIENT if word in str(caught.value)]
    return caught.value


@pytest.mark.parametrize("finding", Finding)
def test_every_resource_is_valid_fhir(finding):
    probability = None if finding is Finding.NOT_ASSESSED else 0.25
    result = story.decision(STUDY, finding=finding, probability=probability, anatomy="XR_WRIST", acr_category="2")
    bundle = json.loads(artifact(result).body)
    validated(bundle)
    for entry in bundle["entry"]:
        validated(entry["resource"])


def test_a_result_without_patient_order_or_dates_is_valid_too():
    bare = build_fhir(ResultContext(result=story.decision(STUDY, probability=None), headers=(Dataset(),)))
    for entry in json.loads(bare.body)["entry"]:
        validated(entry["resource"])


def test_a_result_is_a_report_its_observations_and_a_task(site):
    server, transport = site
    transport(patient_system="urn:oid:9.8", accession_system=ACCESSIONS).send(artifact())
    report, task = server.only("DiagnosticReport"), server.only("Task")
    observations = {one["code"]["coding"][0]["display"]: one for one in server.of("Observation")}
    assert (report["status"], task["priority"], task["status"]) == ("preliminary", "stat", "requested")
    assert {reference["reference"] for reference in report["result"]} == {
        f"Observation/{one['id']}" for one in observations.values()
    }
    assert task["reasonReference"]["reference"] == f"DiagnosticReport/{report['id']}"
    assert observations["Probability"]["valueQuantity"]["value"] == 0.9123
    assert observations["Normality"]["valueCodeableConcept"]["coding"][0]["code"] == "263654008"
    for one in (report, *observations.values()):
        assert one["subject"]["identifier"]["system"] == "urn:oid:9.8"
        assert one["subject"]["identifier"]["value"] == "P1"
        assert one["basedOn"][0]["identifier"] == task["focus"]["identifier"]
        assert one["basedOn"][0]["identifier"]["system"] == ACCESSIONS
    assert report["imagingStudy"][0]["identifier"]["value"] == f"urn:oid:{STUDY}"
    assert report["effectiveDateTime"] == "2026-03-01T08:15:00+00:00"
    for one in observations.values():
        assert one["contained"][0]["version"][1]["value"] == story.MODEL.label


def test_no_name_and_no_birth_date_leave():
    body = artifact().body.decode()
    assert not [word for word in PATIENT if word in body]
    assert "1961-11-24" not in body


def test_a_repeat_changes_nothing(site):
    server, transport = site
    sending = transport()
    sending.send(artifact())
    before = json.dumps(sorted(server.resources.items()))
    sending.send(artifact())
    assert json.dumps(sorted(server.resources.items())) == before
    assert server.transactions == 1


def test_a_flag_its_decision_and_a_later_revision_are_versions_of_the_same_resources(site):
    server, transport = site
    sending = transport()
    flag = artifact(story.flag(STUDY, image=f"{STUDY}.1", priority=Priority.URGENT))
    later = story.T0 + timedelta(minutes=5)
    for sent in (flag, artifact(), artifact(revision=2, at=later, finding=Finding.NORMAL)):
        sending.send(sent)
    assert len(server.resources) == 4
    report = server.only("DiagnosticReport")
    assert report["meta"]["versionId"] == str(server.transactions)
    assert report["conclusionCode"][0]["coding"][0]["display"] == "Normal"


def test_a_flag_is_said_to_be_partial(site):
    server, transport = site
    transport().send(artifact(story.flag(STUDY, image=f"{STUDY}.1", priority=Priority.URGENT)))
    assert server.only("DiagnosticReport")["status"] == "partial"
    assert server.only("Task")["priority"] == "urgent"


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"priority": "asap"}, ("requested", "asap")),
        ({"status": "accepted", "priority": "routine"}, ("accepted", "routine")),
        ({"priority": "routine"}, ("requested", "urgent")),
    ],
)
def test_a_task_that_people_raised_or_took_up_is_not_written_over(site, changed, kept):
    server, transport = site
    sending = transport()
    sending.send(artifact(story.flag(STUDY, image=f"{STUDY}.1", priority=Priority.URGENT)))
    server.put({**server.only("Task"), **changed})
    sending.send(artifact(story.decision(STUDY, priority=Priority.URGENT, probability=0.9)))
    assert server.only("DiagnosticReport")["status"] == "preliminary"
    task = server.only("Task")
    assert (task["status"], task["priority"]) == kept


def test_an_older_result_never_replaces_a_newer_one(site):
    server, transport = site
    sending = transport()
    sending.send(artifact(revision=2, at=story.T0 + timedelta(minutes=5)))
    before = server.only("DiagnosticReport")
    sending.send(artifact())
    assert server.only("DiagnosticReport") == before


@pytest.mark.parametrize("status", ["final", "amended", "cancelled", "entered-in-error"])
def test_a_report_that_people_have_taken_over_is_theirs(status, site):
    server, transport = site
    sending = transport()
    sending.send(artifact())
    server.put({**server.only("DiagnosticReport"), "status": status})
    sending.send(artifact(revision=2, at=story.T0 + timedelta(minutes=5)))
    assert server.only("DiagnosticReport")["status"] == status
    assert server.transactions == 1


class TestOrders:
    def test_the_priority_of_the_order_is_raised_with_the_result(self, site):
        server, transport = site
        server.put(order())
        transport(priority="service-request", accession_system=ACCESSIONS).send(artifact())
        assert server.only("ServiceRequest")["priority"] == "stat"
        assert not server.of("Task")

    @pytest.mark.parametrize(
        "changes",
        [
            {"priority": "stat"},
            {"status": "completed"},
            {"status": "revoked"},
            {"identifier": [{"system": "urn:oid:5.5", "value": "A1"}]},
            {"subject": {"identifier": {"value": "P2"}}},
        ],
    )
    def test_an_order_that_is_as_urgent_or_done_or_another_one_is_left_alone(self, changes, site):
        server, transport = site
        server.put(order(**changes))
        before = server.only("ServiceRequest")
        transport(priority="service-request", accession_system=ACCESSIONS).send(artifact())
        assert server.only("ServiceRequest") == before
        assert server.only("DiagnosticReport")["status"] == "preliminary"

    @pytest.mark.parametrize("ours", [Priority.ROUTINE, Priority.URGENT])
    def test_a_priority_is_never_lowered(self, ours, site):
        server, transport = site
        server.put(order(priority="asap"))
        sent = artifact(replace(story.decision(STUDY), priority=ours))
        transport(priority="service-request").send(sent)
        assert server.only("ServiceRequest")["priority"] == "asap"

    def test_two_orders_with_one_number_are_left_alone(self, site):
        server, transport = site
        server.put(order())
        server.put(order(id="78"))
        transport(priority="service-request").send(artifact())
        assert [one["priority"] for one in server.of("ServiceRequest")] == ["routine", "routine"]
        assert server.of("DiagnosticReport")

    def test_an_order_that_changes_meanwhile_is_read_again(self, site):
        server, transport = site
        server.put(order())
        sending = transport(priority="service-request")
        transact = server.transact

        def changed_meanwhile(bundle):
            server.transact = transact
            server.put({**server.resources["ServiceRequest", "77"], "note": [{"text": "call the ward"}]})
            return transact(bundle)

        server.transact = changed_meanwhile
        assert not refusal(sending).permanent
        assert not server.of("DiagnosticReport")
        sending.send(artifact())
        assert server.only("ServiceRequest")["priority"] == "stat"
        assert server.only("ServiceRequest")["note"]

    def test_without_any_the_result_goes_alone(self, site):
        server, transport = site
        transport(priority="none").send(artifact())
        assert {kind for kind, _ in server.resources} == {"DiagnosticReport", "Observation"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "codes", "permanent"),
        [
            (400, ["invalid"], True),
            (422, ["processing", "business-rule"], True),
            (404, ["not-found"], True),
            (400, ["transient"], False),
            (422, ["invalid", "lock-error"], False),
            (400, ["Lind, Eva"], False),
            (400, [], False),
            (404, [], False),
            (409, ["conflict"], False),
            (412, ["conflict"], False),
            (500, ["exception"], False),
            (401, ["login"], False),
        ],
    )
    def test_what_it_says_of_the_resources_is_believed(self, status, codes, permanent, site):
        server, transport = site
        said = {"resourceType": "OperationOutcome", "issue": [{"code": code} for code in codes]}
        server.faults = [*nothing_found(server), server.said(status, said)]
        error = refusal(transport())
        assert (error.permanent, error.away) == (permanent, False)
        assert str(status) in str(error)

    def test_a_server_without_time_is_left_alone_as_long_as_it_asks(self, site):
        server, transport = site
        server.faults = [Said(429, b"", {"Retry-After": "7"})]
        error = refusal(transport())
        assert (error.permanent, error.away, error.retry_after) == (False, True, timedelta(seconds=7))

    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", b"{}", b'{"type":"transaction-response","entry":[7]}', b"[" * 5000, b'{"entry":null}'],
    )
    def test_an_answer_that_does_not_say_that_all_was_taken_is_none(self, body, site):
        server, transport = site
        server.faults = [*nothing_found(server), Said(200, body)]
        assert not refusal(transport()).permanent

    def test_one_entry_that_failed_is_a_failure(self, site):
        server, transport = site
        entries = [{"response": {"status": status}} for status in ("201", "201", "201", "422 no")]
        said = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        server.faults = [*nothing_found(server), server.said(200, said)]
        assert not refusal(transport()).permanent

    def test_two_reports_with_our_identifier_are_for_people(self, site):
        server, transport = site
        transport().send(artifact())
        server.put({**server.only("DiagnosticReport"), "id": "copy"})
        error = refusal(transport(), artifact(revision=2, at=story.T0 + timedelta(minutes=5)))
        assert error.permanent
        assert "delete" in error.remedy

    @pytest.mark.parametrize("body", [b'{"entry": [1, {"resource": 2}]}', b"no", b'"Bundle"'])
    def test_a_search_that_is_no_fhir_is_none(self, body, site):
        server, transport = site
        server.faults = [Said(200, body)]
        assert "does not answer as a FHIR server" in str(refusal(transport()))

    def test_a_lost_answer_is_made_good_by_the_repeat(self, site):
        server, transport = site
        sending = transport()

        def lost(asked):
            said = server.answer(asked)
            return None if asked.method == "POST" else said

        server.peer.answer = lost
        assert not refusal(sending).permanent
        server.peer.answer = server.answer
        sending.send(artifact())
        assert server.transactions == 1


def test_a_check_searches_for_what_is_nobody_s(site):
    server, transport = site
    assert "/fhir" in transport().check()
    (asked,) = server.asked
    assert asked.method == "GET"
    assert asked.path.startswith("/fhir/DiagnosticReport?identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Aoid%3A2.25.")
