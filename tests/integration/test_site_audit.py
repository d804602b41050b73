"""The audit console as a browser asks for it: found by who, whom, what and when; told in words; exported; verified."""

import csv
import io
import re

import pytest
from lxml import etree
from sqlalchemy import text
from support.audit_pages import record, show
from support.auditing import unguarded
from support.site import csrf_of
from support.story import STUDY

from triage_agent.domain.audit import AuditEvent, AuditQuestion
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site import audit_export, audit_story, auditing

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e'\"=1+1"


@pytest.fixture
def browser(hospital):
    return hospital.browser("auditor")


def cells(page, column="What happened"):
    """The first words of each row's cell."""
    root = etree.HTML(page.text)
    found = root.xpath(f'//table[contains(@class, "records")]//td[@data-head="{column}"]')
    return [" ".join(" ".join(one.itertext()).split()) for one in found]


def field(page, name):
    (found,) = etree.HTML(page.text).xpath(f'//*[@name="{name}"]')
    return found


def test_records_are_told_in_words_with_their_detail_and_lead_to_the_study(hospital, browser):
    record(hospital, address="10.1.2.3")
    page = show(browser, actor="dr.lee")
    assert cells(page)[0].startswith("dr.lee opened the study Detail address 10.1.2.3")
    assert f'href="/studies/{STUDY}/story"' in page.text
    assert f'href="/studies/{STUDY}"' in page.text


def test_a_person_and_an_ae_title_are_asked_for_by_name(hospital, browser):
    record(hospital)
    record(hospital, actor="PACS 1", action=AuditAction.INSTANCE_RECEIVED)
    assert cells(show(browser, actor="dr.lee"), "Who") == ["dr.lee"]
    assert cells(show(browser, actor="PACS 1"), "Who") == ["PACS 1"]
    assert cells(show(browser, actor="dr")) == []
    assert cells(show(browser, actor="DR.LEE"), "Who") == ["dr.lee"]
    assert cells(show(browser, actor="pacs 1", study=STUDY), "Who") == ["PACS 1"]


@pytest.mark.parametrize("patient", ["P77", "akesson", "Åkesson^G", "  åkesson   görel "])
def test_a_patient_is_asked_for_by_number_or_name_and_named_in_no_record(hospital, browser, patient):
    hospital.story.receive(
        study="1.2.77", image="1.2.77.1", patient_id="P77", patient_name="Åkesson^Görel", accession_number="A77"
    )
    record(hospital, study="1.2.77")
    record(hospital, study="1.2.78")
    page = show(browser, patient=patient, actor="dr.lee")
    assert cells(page, "Study") == ["1.2.77 open"]
    (asked,) = hospital.audited(AuditAction.AUDIT_READ)
    assert "1.2.77" in asked.detail["studies"]
    assert "kesson" not in str(asked.detail).casefold()
    assert "P77" not in str(asked.detail)


def test_a_patient_whom_nobody_knows_has_no_record(hospital, browser):
    record(hospital)
    page = show(browser, patient="Nobody")
    assert cells(page) == []
    assert "0 studies of that patient" in page.text


@pytest.mark.parametrize(
    ("action", "found"),
    [("saw", {"STUDY_VIEWED", "STUDIES_LISTED"}), ("decided", {"DECISION_MADE"}), ("study_viewed", {"STUDY_VIEWED"})],
)
def test_events_are_asked_for_one_by_one_or_in_groups(hospital, browser, action, found):
    for one in ("STUDY_VIEWED", "STUDIES_LISTED", "DECISION_MADE", "DELIVERY_SENT"):
        record(hospital, action=AuditAction[one], actor="them")
    records = browser.get("/api/audit", params={"actor": "them", "action": action}).json()
    assert {one["action"].upper() for one in records} == found


def test_time_is_the_readers_own(hospital, browser):
    record(hospital)  # at 08:00 UTC, which is 09:00 in Stockholm
    inside = {"from": "2026-03-01T08:59", "to": "2026-03-01T09:01", "actor": "dr.lee"}
    assert len(cells(show(browser, zone="Europe/Stockholm", **inside))) == 1
    assert cells(show(browser, **inside)) == []
    page = show(browser, zone="Europe/Stockholm", **inside)
    assert "Times are in Europe/Stockholm." in page.text
    assert cells(page, "When") == ["2026-03-01 09:00:00"]
    assert field(page, "zone").get("value") == "Europe/Stockholm"


@pytest.mark.parametrize(
    "asked",
    [
        {"zone": "../../etc/passwd"},
        {"zone": "Nowhere/At_All"},
        {"from": "yesterday"},
        {"from": "0001-01-01", "zone": "Asia/Tokyo"},
        {"to": "9999-12-31T23:59"},
        {"action": "no_such"},
        {"before": "-1"},
        {"before": "9" * 19},
        {"before": "\u0661"},
        {"actor": "x" * 201},
        {"study": "a\x00b"},
    ],
)
def test_what_cannot_be_understood_is_refused_and_not_repeated(hospital, browser, asked):
    answers = [browser.get(path, params=asked) for path in ("/audit", "/api/audit", "/audit/export")]
    assert {answer.status_code for answer in answers} == {400}
    assert not any(len(value) > 3 and value in answer.text for value in asked.values() for answer in answers[1:])
    assert hospital.audited(AuditAction.AUDIT_READ) == []


def test_a_form_that_cannot_be_understood_comes_back_with_what_is_wrong_beside_its_field(hospital, browser):
    typed = {"actor": "<b>dr.lee</b>", "from": "2026-03-01T08:00", "zone": "Stockholm", "to": "soon", "action": "saw"}
    page = browser.get("/audit", params=typed)
    assert page.status_code == 400
    assert {name: field(page, name).get("value") for name in typed if name != "action"} == {
        name: value for name, value in typed.items() if name != "action"
    }
    assert 'value="saw" selected' in page.text
    assert "<b>dr.lee" not in page.text
    root = etree.HTML(page.text)
    said = {one.get("id"): one.text for one in root.xpath('//*[@role="alert"]/p')}
    assert said["wrong-zone"].startswith("Time zone: there is no such time zone")
    assert said.keys() == {"wrong-zone", "wrong-to"}
    for name in ("zone", "to"):
        assert (field(page, name).get("aria-invalid"), field(page, name).get("aria-describedby")) == (
            "true",
            f"wrong-{name}",
        )
    assert hospital.audited(AuditAction.AUDIT_READ) == []


def test_an_end_that_is_not_after_the_begin_is_said_to_be_so(hospital, browser):
    record(hospital)
    page = show(browser, **{"from": "2026-03-02T08:00", "to": "2026-03-01T08:00"})
    assert "No record: “To” is not after “From”." in page.text
    assert "No record." in show(browser, actor="nobody at all").text


def test_export_asks_for_what_stands_in_the_form(hospital, browser):
    page = show(browser, actor="dr.lee")
    buttons = etree.HTML(page.text).xpath('//form[@action="/audit"]//button')
    assert [(one.get("formaction"), one.get("name"), one.get("value")) for one in buttons] == [
        (None, None, None),  # the first is what Enter presses
        ("/audit/export", "form", "csv"),
        ("/audit/export", "form", "xml"),
    ]
    record(hospital)
    form = {
        one.get("name"): one.get("value", "") for one in etree.HTML(page.text).xpath('//form[@action="/audit"]//input')
    }
    answer = browser.get("/audit/export", params={**form, "action": "", "form": "csv"})
    assert [row["actor"] for row in csv.DictReader(io.StringIO(answer.text))] == ["dr.lee"]


def test_beside_a_patients_records_stands_what_they_do_not_say(hospital, browser):
    page = show(browser, patient="akesson")
    assert "Not here: who saw the patient's line on the worklist without opening the study" in page.text
    assert 'href="/audit?action=studies_listed"' in page.text
    assert "Not here" not in show(browser).text


def test_events_are_chosen_by_words(browser):
    options = [one.text for one in etree.HTML(show(browser).text).xpath('//select[@name="action"]//option')]
    assert "Sent other bytes under a known UID" in options
    assert "People could not be told by …" in options
    assert len(set(options)) == len(options)


def test_pages_go_on_where_they_ended_while_records_come(hospital, browser):
    for number in range(250):
        record(hospital, after=number // 3, revision=number)
    page, seen = browser.get("/api/audit", params={"actor": "dr.lee"}).json(), []
    while page:
        seen += [one["detail"]["revision"] for one in page]
        record(hospital, after=1000, revision=-1)
        page = browser.get("/api/audit", params={"actor": "dr.lee", "before": page[-1]["number"]}).json()
    assert seen == list(range(249, -1, -1))
    older = show(browser, actor="dr.lee")
    assert 'href="/audit?actor=dr.lee&amp;before=' in older.text


def test_hostile_text_in_every_field_is_shown_and_obeyed_by_nobody(hospital, browser):
    for action in AuditAction:
        keys = ("to", "from", "rule", "kind", "destination", "reason", "route", "account", "change", "{0.__class__}")
        hospital.worklist.record_audit(
            AuditEvent(
                at=hospital.now,
                action=action,
                actor=HOSTILE,
                study_instance_uid=HOSTILE[:64],
                detail=dict.fromkeys((*keys, HOSTILE), HOSTILE + "{actor}"),
            )
        )
    pages = [show(browser), show(browser, actor=HOSTILE), show(browser, study=HOSTILE[:64])]
    assert len(cells(pages[1])) == len(AuditAction)
    for page in pages:
        assert "<script>alert" not in page.text
        assert "\x1b" not in page.text
        assert "\u202e" not in page.text
    rows = list(csv.reader(io.StringIO(browser.get("/audit/export", params={"actor": HOSTILE}).text)))
    assert len(rows) == len(AuditAction) + 1
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


@pytest.mark.parametrize(
    "change",
    ["action = 'nonsense'", "detail = '[1'", "at = 'zzz'", "actor = 5", "detail = '[]'", "study_instance_uid = 7"],
)
def test_a_record_that_somebody_changed_is_shown_for_what_it_is(hospital, browser, change):
    record(hospital, study="1.2.9")
    last = hospital.trail.latest(1)[0].id
    with unguarded(hospital.engine) as connection:
        connection.execute(text(f"UPDATE audit_events SET {change} WHERE id = {last}"))  # noqa: S608
    rows = cells(show(browser), "No.")
    assert str(last) in rows
    assert last in [one["number"] for one in browser.get("/api/audit").json()]
    assert f"\r\n{last}," in browser.get("/audit/export").text
    story = browser.get("/studies/1.2.9/story")
    assert story.status_code == (404 if "study" in change else 200)


def test_an_empty_log_is_said_to_be_empty(hospital, browser):
    assert cells(show(browser, action="results_withdrawn")) == []
    assert "No record." in show(browser, action="results_withdrawn").text
    assert "No anchor yet." in show(browser).text


def test_the_console_is_away_with_the_database_and_shows_nothing_unaudited(hospital, browser, monkeypatch):
    def away(*_args):
        raise WorklistUnavailableError("away")

    monkeypatch.setattr(hospital.worklist, "record_audit", away)
    monkeypatch.setattr(hospital.site.verifier, "_record", away)
    paths = ("/audit", "/api/audit", "/audit/export", f"/studies/{STUDY}/story")
    for path in paths:
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "PACS" not in answer.text
    token = csrf_of(browser.get("/password"))
    assert browser.post("/audit/verify", data={"csrf": token}).status_code == 503


# The story.


def test_a_studys_story_goes_from_the_first_image_to_the_last_reader(hospital, browser):
    for number in range(4):
        record(hospital, AuditAction.INSTANCE_RECEIVED, "PACS", study="1.2.5", after=number)
    record(hospital, AuditAction.PRIORITY_RAISED, "agent", "1.2.5", 10, **{"from": "routine", "to": "stat"}, rule="r")
    record(hospital, AuditAction.DECISION_MADE, "agent", "1.2.5", 75, finding="abnormal", priority="stat", rule="r")
    record(hospital, AuditAction.STUDY_VIEWED, "dr.lee", "1.2.5", 100)
    record(hospital, AuditAction.READING_CHANGED, "dr.lee", "1.2.5", 4000, to="read", revision=1)
    page = browser.get("/studies/1.2.5/story")
    told = [
        " ".join(" ".join(one.itertext()).split()) for one in etree.HTML(page.text).xpath('//ol[@class="story"]/li')
    ]
    assert len(told) == 5
    assert "PACS sent an image or object, 4 times , the last at 2026-03-01 08:00:03" in told[0]
    assert "+ 7 s 2026-03-01 08:00:10 The priority was raised from routine to stat (rule r)" in told[1]
    assert "+ 1 min 5 s" in told[2]
    assert "dr.lee marked the study as read" in told[4]
    facts = " ".join(" ".join(etree.HTML(page.text).xpath("//dl")[0].itertext()).split())
    assert "Decided 2026-03-01 08:01:15 1 min 15 s after the first record" in facts
    assert "Read 2026-03-01 09:06:40 1 h 6 min after" in facts
    assert "This study is not on the worklist." in page.text
    (read,) = hospital.audited(AuditAction.AUDIT_READ)
    assert (read.actor, read.study_instance_uid, read.detail["story"]) == ("auditor", "1.2.5", True)


def test_a_long_story_is_cut_and_says_so(hospital, browser, monkeypatch):
    monkeypatch.setattr(audit_story, "_MOST", 3)
    for number in range(5):
        record(hospital, study="1.2.5", actor=f"dr.{number}")
    assert "These are the first 3 records." in browser.get("/studies/1.2.5/story").text


@pytest.mark.parametrize("uid", ["1.2.999", "nonsense", "1.2.3%0a"])
def test_what_has_no_record_has_no_story(browser, uid):
    assert browser.get(f"/studies/{uid}/story").status_code == 404


# Export.


def test_what_is_filtered_is_exported_and_that_is_audited_first(hospital, browser):
    for number in range(3):
        record(hospital, after=number, revision=number)
    answer = browser.get("/audit/export", params={"actor": "dr.lee", "form": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["actor"] for row in rows] == ["dr.lee"] * 3
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert re.fullmatch(r'attachment; filename="audit-\d{8}T\d{6}Z\.csv"', answer.headers["content-disposition"])
    (exported,) = hospital.audited(AuditAction.AUDIT_EXPORTED)
    assert (exported.actor, exported.detail["actor"], exported.detail["format"]) == ("auditor", "dr.lee", "csv")


def test_audit_messages_are_exported_as_one_document(hospital, browser):
    record(hospital)
    record(hospital, AuditAction.STATUS_CHANGED)
    answer = browser.get("/audit/export", params={"form": "xml", "study": STUDY})
    root = etree.fromstring(answer.content)
    assert root.tag == "AuditMessages"
    assert len(root.findall("AuditMessage")) >= 2
    assert any("makes no message" in one.text for one in root.iter(etree.Comment))
    assert browser.get("/audit/export", params={"form": "pdf"}).status_code == 400


@pytest.mark.parametrize("form", ["csv", "xml"])
def test_an_export_is_bounded_and_says_that_it_is_not_all(hospital, browser, monkeypatch, form):
    monkeypatch.setattr(audit_export, "MOST", 4)
    for number in range(5):
        record(hospital, after=number)
    cut = browser.get("/audit/export", params={"actor": "dr.lee", "form": form}).text
    assert "NOT ALL" in cut.splitlines()[-1]
    whole = browser.get("/audit/export", params={"actor": "dr.lee", "to": "2026-03-01T08:00:04", "form": form}).text
    assert "NOT ALL" not in whole


def test_few_export_at_once_and_their_places_are_given_back(hospital, browser):
    exports = audit_export.Exports(longest=1000.0)
    for _ in range(2):
        exports.require_room()
    with pytest.raises(Exception, match="Others export"):
        exports.require_room()
    for _ in range(5):
        assert browser.get("/audit/export").status_code == 200
    late = audit_export.Exports(longest=0.0)
    for _ in range(5):
        late.require_room()


def test_an_export_that_fails_in_whatever_way_gives_its_place_back(hospital, monkeypatch):
    def broken(*_args, **_named):
        raise RuntimeError("a fault of ours")

    browser = hospital.browser("auditor")
    with monkeypatch.context() as patched:
        patched.setattr(auditing, "lines_of", broken)
        for _ in range(4):
            with pytest.raises(RuntimeError, match="a fault of ours"):
                browser.get("/audit/export")
    assert browser.get("/audit/export").status_code == 200


def test_a_walk_gives_every_record_once_whatever_is_asked(hospital):
    for number in range(2300):
        record(hospital, after=number // 1000, revision=number, actor=f"dr.{number % 3}")
    for question in (AuditQuestion(limit=None), AuditQuestion(limit=None, actor="dr.1")):
        found = [one.id for one in hospital.trail.walk(question)]
        assert len(found) == len(set(found)) >= 2300 // 3
    everything = [one.id for one in hospital.trail.walk(AuditQuestion(limit=None))]
    assert set(everything) == {one.id for one in hospital.trail.latest(10_000)}
    assert [one.id for one in hospital.trail.records(AuditQuestion(limit=5000))] == everything[::-1]
    assert len(list(hospital.trail.walk(AuditQuestion(limit=1500)))) == 1500
