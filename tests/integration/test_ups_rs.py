"""UPS-RS by plain HTTP (PS3.18 section 11): each transaction, its statuses and warnings, and one set with DIMSE's."""

import json

import pytest
from pydicom import Dataset
from support.story import STUDY
from support.ups import GLOBAL, calling, find, keys, performed, ups_agent
from support.ups_rs import EDGE, PRIORITY, STATE, UID, WATCHER, element, first, posted, state, web_site

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction, Priority
from triage_agent.domain.workitem import FILTERED, StepState, workitem_uid

ITEM = workitem_uid(STUDY)
INCONSISTENT = "The submitted request is inconsistent with the"


@pytest.fixture
def site(sqlite_url):
    with web_site(sqlite_url) as site:
        site.story.receive(STUDY, patient_id="P1", patient_name="Åkesson^Görel", accession_number="A1")
        yield site


def claim(site):
    assert site.ask("PUT", f"/{ITEM}/state", state("IN PROGRESS")).status == 200


def finished(**values):
    return performed(**values).to_json_dict()


# --- create -------------------------------------------------------------------------------------------------------
def test_a_workitem_is_posted_under_the_uid_in_the_query_and_read_where_location_says(site):
    made = site.ask("POST", "?2.25.5", posted(PatientID="P9"))
    assert (made.status, made.body) == (201, b"")
    assert made.headers["Location"] == f"http://127.0.0.1:{site.port}/dicom-web/workitems/2.25.5"
    found = site.ask("GET", "/2.25.5").json
    assert (first(found, UID), first(found, STATE), first(found, "00100020")) == ("2.25.5", "SCHEDULED", "P9")


@pytest.mark.parametrize("query", ["?workitem=2.25.6", "?AffectedSOPInstanceUID=2.25.6"])
def test_a_named_uid_counts_as_well(site, query):
    assert site.ask("POST", query, posted()).status == 201
    assert site.ask("GET", "/2.25.6").status == 200


@pytest.mark.parametrize("tag", ["00001000", "00080018"])
def test_a_uid_may_stand_in_the_workitem(site, tag):
    assert site.ask("POST", "", [posted() | {tag: element("UI", "2.25.7")}]).status == 201
    assert site.ask("GET", "/2.25.7").status == 200


def test_without_a_uid_it_gets_one(site):
    location = site.ask("POST", "", posted()).headers["Location"]
    assert site.ask("GET", "/" + location.rpartition("/")[2]).status == 200


def test_one_that_is_there_is_a_conflict(site):
    again = site.ask("POST", f"?{ITEM}", posted())
    assert (again.status, again.warning) == (409, "The Target Workitem already exists.")


@pytest.mark.parametrize("everything", ["1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"])
def test_the_instances_that_stand_for_all_workitems_are_none(site, everything):
    assert site.ask("POST", f"?{everything}", posted()).status == 400
    assert site.ask("GET", f"/{everything}").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (posted(ProcedureStepLabel=""), 400),
        (posted(ProcedureStepState="IN PROGRESS"), 400),
        (posted(ScheduledProcedureStepPriority="NOW"), 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"zz": {"vr": "CS"}}', 400),
        (b'{"00741000": []}', 400),
        (b"[" * 100_000, 400),
        (json.dumps({"00741000": {"vr": "SQ", "Value": [{"00741000": {"vr": "SQ", "Value": []}}] * 9}}).encode(), 400),
        (posted() | {"00401400": element("LT", "x" * 80_000)}, 413),
        (b" " * 200_000, 413),
    ],
)
def test_what_is_no_workitem_is_refused(site, body, status):
    assert site.ask("POST", "?2.25.8", body).status == status
    assert site.ask("GET", "/2.25.8").status == 404


def test_nested_sequences_are_bounded(site):
    deep = {"vr": "SQ", "Value": []}
    for _ in range(60):
        deep = {"vr": "SQ", "Value": [{"0040A730": deep}]}
    assert site.ask("POST", "?2.25.8", posted() | {"0040A730": deep}).status == 400


def test_another_media_type_is_not_taken_or_given(site):
    assert site.ask("POST", "?2.25.8", posted(), **{"Content-Type": "application/dicom+xml"}).status == 415
    assert site.ask("GET", f"/{ITEM}", Accept="application/dicom+xml").status == 406
    assert site.ask("GET", f"/{ITEM}", Accept="application/json").status == 200


# --- retrieve and search -------------------------------------------------------------------------------------------
def test_a_studys_workitem_is_read_whole_and_without_its_transaction_uid(site):
    claim(site)
    found = site.ask("GET", f"/{ITEM}", token=WATCHER).json
    data = Dataset.from_json(found)
    assert (data.PatientName, data.ProcedureStepState) == ("Åkesson^Görel", "IN PROGRESS")
    assert data.InputInformationSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.1.1"
    assert "TransactionUID" not in data


@pytest.mark.parametrize("uid", ["2.25.404", "x", "1..2", "%2e%2e", "1" * 200])
def test_an_unknown_workitem_is_not_found(site, uid):
    assert site.ask("GET", f"/{uid}").status == 404
    assert site.ask("POST", f"/{uid}", {}).status == 404
    assert site.ask("PUT", f"/{uid}/state", state("IN PROGRESS")).status == 404
    assert site.ask("POST", f"/{uid}/cancelrequest", b"").status == 404
    assert site.ask("POST", f"/{uid}/subscribers/WATCHER", b"").status == 404


def test_a_search_gives_the_best_first_in_pages(site):
    site.story.receive("1.2.2", requested_priority=Priority.STAT)
    site.story.receive("1.2.3")
    whole = site.search()
    assert whole.status == 200
    uids = [first(one, UID) for one in whole.json]
    assert uids[0] == workitem_uid("1.2.2")
    pages = [site.search(limit=1, offset=number) for number in range(4)]
    assert [page.status for page in pages] == [206, 206, 200, 204]
    assert [first(page.json[0], UID) for page in pages[:3]] == uids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"ScheduledProcedureStepPriority": "LOW"}, 1),
        ({"00741200": "HIGH"}, 0),
        ({"PatientName": "*kesson*"}, 1),
        ({"ReferencedRequestSequence.AccessionNumber": "A1"}, 1),
        ({"00404018.00080100": "110005"}, 1),
        ({"ReferencedRequestSequence.AccessionNumber": "A2"}, 0),
        ({"SOPInstanceUID": f"2.25.1,{ITEM}"}, 1),
        ({"ScheduledProcedureStepStartDateTime": "20000101-20991231"}, 1),
        ({"ScheduledProcedureStepStartDateTime": "-20000101"}, 0),
        ({"includefield": "all", "ProcedureStepState": ""}, 1),
    ],
)
def test_keys_are_keywords_or_tags(site, query, found):
    answer = site.search(**query)
    assert (len(answer.json) if answer.body else 0) == found


@pytest.mark.parametrize(
    "query",
    [
        {"Nonsense": "1"},
        {"limit": "x"},
        {"offset": "1000000"},
        {"PatientID.AccessionNumber": "1"},
        {"PatientID": "x" * 2000},
        {"00404018": "x"},
        {f"{number:08d}": "" for number in range(60)},
    ],
)
def test_keys_that_are_none_are_refused(site, query):
    assert site.search(**query).status == 400


def test_fuzzy_matching_is_said_to_be_literal(site):
    assert site.search(fuzzymatching="true").warning.startswith("The fuzzymatching parameter is not supported.")


# --- update, claim, complete, cancel -------------------------------------------------------------------------------
def test_a_workitem_is_claimed_read_and_completed(site):
    claim(site)
    again = site.ask("PUT", f"/{ITEM}/state", state("IN PROGRESS", "2.25.78"))
    assert (again.status, again.warning.startswith(INCONSISTENT)) == (409, True)
    early = site.ask("PUT", f"/{ITEM}/state", state("COMPLETED"))
    assert (early.status, early.warning.startswith(INCONSISTENT)) == (409, True)
    assert site.ask("POST", f"/{ITEM}?2.25.77", finished()).status == 200
    assert site.ask("PUT", f"/{ITEM}/state/READER", state("COMPLETED")).status == 200
    twice = site.ask("PUT", f"/{ITEM}/state", state("COMPLETED"))
    assert (twice.status, twice.warning) == (200, "The UPS is already in the requested state of COMPLETED.")
    late = site.ask("POST", f"/{ITEM}?transaction-uid=2.25.77", finished())
    assert (late.status, late.warning.startswith(INCONSISTENT)) == (400, True)
    trail = [event for event in site.worklist.study(STUDY).audit if event.action is AuditAction.WORKITEM_CHANGED]
    assert [(event.actor, event.detail["to"]) for event in trail] == [
        ("READER", "IN PROGRESS"),
        ("READER", "updated"),
        ("READER", "COMPLETED"),
    ]


def test_a_claim_belongs_to_who_knows_its_transaction_uid(site):
    missing = site.ask("PUT", f"/{ITEM}/state", state("IN PROGRESS", ""))
    assert (missing.status, missing.warning) == (400, "The Transaction UID is missing.")
    claim(site)
    for query, warning in (("", "missing"), ("?2.25.78", "incorrect"), ("?transaction-uid=2.25.78", "incorrect")):
        refused = site.ask("POST", f"/{ITEM}{query}", finished())
        assert (refused.status, refused.warning) == (400, f"The Transaction UID is {warning}.")
    in_the_body = finished() | {"00081195": element("UI", "2.25.77")}
    assert site.ask("POST", f"/{ITEM}", in_the_body).status == 200


def test_a_transaction_uid_for_what_nobody_claimed_is_a_conflict(site):
    refused = site.ask("POST", f"/{ITEM}?2.25.77", finished())
    assert (refused.status, refused.warning) == (409, "The target URI did not reference a claimed Workitem.")


def test_the_priority_is_the_worklists_own(site):
    answer = site.ask("POST", f"/{ITEM}", {PRIORITY: element("CS", "HIGH")})
    assert (answer.status, answer.warning) == (200, "The Workitem was updated with modifications.")
    assert first(site.ask("GET", f"/{ITEM}").json, PRIORITY) == "LOW"


def test_what_nobody_has_begun_is_canceled_at_once(site):
    assert site.ask("POST", f"/{ITEM}/cancelrequest", {"00741238": element("LT", "wrong patient")}).status == 202
    assert first(site.ask("GET", f"/{ITEM}").json, STATE) == "CANCELED"
    again = site.ask("POST", f"/{ITEM}/cancelrequest/READER", b"")
    assert (again.status, again.warning) == (202, "The UPS is already in the requested state of CANCELED.")


def test_a_claimed_one_is_canceled_by_its_performer_alone(site):
    claim(site)
    unheard = site.ask("POST", f"/{ITEM}/cancelrequest", b"")
    assert (unheard.status, unheard.warning) == (409, "The performer cannot be contacted.")
    assert first(site.ask("GET", f"/{ITEM}").json, STATE) == "IN PROGRESS"


@pytest.mark.parametrize("wanted", ["SCHEDULED", "NONSENSE"])
def test_a_state_that_is_none_to_go_to_is_refused(site, wanted):
    assert site.ask("PUT", f"/{ITEM}/state", state(wanted)).status in {400, 409}


# --- subscriptions -------------------------------------------------------------------------------------------------
def test_a_subscription_says_where_events_come(site):
    made = site.ask("POST", f"/{GLOBAL}/subscribers/WATCHER?deletionlock=true", b"", token=WATCHER)
    assert made.status == 201
    assert made.headers["Content-Location"] == f"ws://127.0.0.1:{site.port}/ws/subscribers/WATCHER"
    assert site.ask("POST", f"/{GLOBAL}/subscribers/WATCHER/suspend", b"", token=WATCHER).status == 200
    assert site.ask("POST", f"/{ITEM}/subscribers/WATCHER/suspend", b"", token=WATCHER).status == 400
    assert site.ask("DELETE", f"/{GLOBAL}/subscribers/WATCHER", token=WATCHER).status == 200


def test_who_is_told_over_dimse_can_be_subscribed_too(site):
    made = site.ask("POST", f"/{ITEM}/subscribers/PACS", b"")
    assert (made.status, made.headers["Content-Location"]) == (201, None)


@pytest.mark.parametrize("query", ["?filter=00741200=HIGH", "?ScheduledProcedureStepPriority=HIGH"])
def test_a_filter_is_given_either_way(site, query):
    assert site.ask("POST", f"/{FILTERED}/subscribers/WATCHER{query}", b"", token=WATCHER).status == 201


@pytest.mark.parametrize("query", ["", "?filter=PatientName=Doe", "?filter=x"])
def test_a_filter_that_cannot_be_told_by_is_refused(site, query):
    assert site.ask("POST", f"/{FILTERED}/subscribers/WATCHER{query}", b"", token=WATCHER).status == 400


def test_who_only_looks_subscribes_itself_alone(site):
    assert site.ask("POST", f"/{GLOBAL}/subscribers/READER", b"", token=WATCHER).status == 403
    assert site.ask("POST", f"/{GLOBAL}/subscribers/WATCHER", b"").status == 201
    assert site.ask("POST", f"/{GLOBAL}/subscribers/NOBODY", b"").status == 404


# --- who may --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("POST", f"/{ITEM}"), ("PUT", f"/{ITEM}/state"), ("POST", f"/{ITEM}/cancelrequest")],
)
def test_who_only_looks_changes_nothing(site, method, path):
    assert site.ask(method, path, state("IN PROGRESS"), token=WATCHER).status == 403
    assert site.workitems.workitems([ITEM])[0].state is StepState.SCHEDULED


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", f"/{ITEM}"), ("POST", f"/{GLOBAL}/subscribers/EDGE"), ("POST", "")]
)
def test_other_tokens_and_none_do_not_help(site, method, path):
    body = None if method == "GET" else b"{}"
    assert site.ask(method, path, body, token=EDGE).status == 403
    refused = site.ask(method, path, body, token="x" * 32)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="triage-agent"')


def test_a_database_that_is_away_is_said_to_be(site, monkeypatch):
    def away(*_arguments, **_options):
        raise WorklistUnavailableError("gone")

    monkeypatch.setattr(type(site.workitems), "workitems", away)
    answer = site.ask("GET", f"/{ITEM}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


def test_a_bug_quotes_nothing(site, monkeypatch):
    def broken(*_arguments, **_options):
        raise KeyError("Doe^John")

    monkeypatch.setattr(type(site.workitems), "workitems", broken)
    answer = site.ask("GET", f"/{ITEM}")
    assert answer.status == 500
    assert b"Doe" not in answer.body


# --- one set -------------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_both_ways_see_one_set_of_workitems(site, tmp_path, sqlite_url):
    with ups_agent(sqlite_url, tmp_path / "spool") as running, calling(running.port) as reader:
        assert site.ask("POST", "?2.25.5", posted()).status == 201
        found, _ = find(reader, keys(SOPInstanceUID="2.25.5"))
        assert [one.ProcedureStepState for one in found] == ["SCHEDULED"]
        claim(site)
        found, _ = find(reader, keys(ProcedureStepState="IN PROGRESS"))
        assert [one.SOPInstanceUID for one in found] == [ITEM]
