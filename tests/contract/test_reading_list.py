"""The readers' list on both databases: every page in order whatever comes meanwhile, one reader a study."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import insert
from support.story import STUDY, Story
from support.ups import performed

from triage_agent.domain.reading import ListQuestion, Order, search_key
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.domain.workitem import StepState, Verdict, workitem_uid
from triage_agent.worklist import SqlAuditLog, SqlReadingList, SqlWorklist
from triage_agent.worklist.limits import with_keys
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.workitems import workitems_of

AGO = timedelta(hours=1)


class Desk:
    def __init__(self, engine):
        self.worklist = SqlWorklist(engine)
        self.story = Story(self.worklist)
        self.list = SqlReadingList(self.worklist.database)

    def many(self, number, seed=1):
        """Studies of every kind, put in at once; several share each value that the list is sorted by."""
        chance = random.Random(seed)
        rows = []
        for index in range(number):
            at = self.story.now - timedelta(minutes=chance.randrange(0, 60))
            priority = chance.choice(list(Priority))
            values = {
                "study_instance_uid": f"1.2.3.{seed}.{index}",
                "accession_number": f"A{index:04}",
                "patient_id": f"P{index % 7}",
                "patient_name": chance.choice(["Åkesson^Görel", "Muller^Jan", "MÜLLER^Ida", "Yamada^Tarou=山田^太郎"]),
                "status": chance.choice([Status.DELIVERED, Status.NEEDS_HUMAN, Status.RECEIVING]),
                "revision": 1,
                "priority": priority,
                "priority_at_arrival": Priority.ROUTINE,
                "instances": 1,
                "received_at": at,
                "first_received_at": at,
                "last_received_at": at,
                "asked": 0,
                "attempts": 0,
                "reasons": [],
                "anatomy": chance.choice(["XR_KNEE", "XR_HAND", None]),
                "probability": chance.choice([None, 0.2, 0.9]),
                "read_at": at if index % 11 == 0 else None,
            }
            rows.append(with_keys(values))
        self.worklist.database.write(lambda session: session.execute(insert(StudyRow), rows))
        return rows

    def pages(self, question):
        found, after = [], None
        while True:
            page = self.list.page(ListQuestion(**{**question, "after": after}))
            found += page.studies
            if not page.more:
                return found
            after = page.studies[-1].place

    def uids(self, **question):
        return [one.item.study_instance_uid for one in self.list.page(ListQuestion(**question)).studies]


@pytest.fixture
def desk(engine):
    return Desk(engine)


def best_first(row):
    return (
        -row["priority"].rank,
        row["probability"] is None,
        -(row["probability"] or 0),
        row["received_at"],
        row["study_instance_uid"],
    )


def newest_first(row):
    return (-row["received_at"].timestamp(), row["study_instance_uid"])


QUESTIONS = [
    ({}, lambda row: True),
    ({"read": True}, lambda row: True),
    ({"priority": Priority.STAT}, lambda row: row["priority"] is Priority.STAT),
    ({"status": Status.NEEDS_HUMAN}, lambda row: row["status"] is Status.NEEDS_HUMAN),
    ({"region": "XR_KNEE"}, lambda row: row["anatomy"] == "XR_KNEE"),
    ({"text": "mull"}, lambda row: "m" in row["name_key"][:1]),
    ({"text": "AKE"}, lambda row: row["name_key"].startswith("ake")),
    ({"text": "p3"}, lambda row: row["patient_id"] == "P3"),
    ({"text": "a00", "region": "XR_HAND"}, lambda row: row["accession_number"] < "A01" and row["anatomy"] == "XR_HAND"),
]


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize(
    ("question", "fits"), QUESTIONS, ids=[" ".join(question) or "all" for question, _ in QUESTIONS]
)
def test_pages_together_are_the_whole_list_in_order(desk, question, fits, order):
    rows = [row for row in desk.many(230) if fits(row) and (question.get("read") or row["read_at"] is None)]
    rows.sort(key=best_first if order is Order.BEST_FIRST else newest_first)
    found = desk.pages({**question, "order": order, "limit": 13})
    assert [one.item.study_instance_uid for one in found] == [row["study_instance_uid"] for row in rows]


@pytest.mark.parametrize("few", [60, 500])
@pytest.mark.parametrize(
    ("question", "fits"), QUESTIONS[1:5], ids=[" ".join(question) or "all" for question, _ in QUESTIONS[1:5]]
)
def test_the_newest_that_a_filter_leaves_are_the_same_whichever_way_they_are_found(
    desk, question, fits, few, monkeypatch
):
    monkeypatch.setattr("triage_agent.worklist.reading._FEW", few)
    rows = [row for row in desk.many(230) if fits(row) and (question.get("read") or row["read_at"] is None)]
    found = desk.pages({**question, "order": Order.NEWEST_FIRST, "limit": 13})
    assert [one.item.study_instance_uid for one in found] == [
        row["study_instance_uid"] for row in sorted(rows, key=newest_first)
    ]


def test_what_came_lately_is_sorted_the_same(desk):
    rows = desk.many(120)
    since = desk.story.now - timedelta(minutes=30)
    wanted = sorted((row for row in rows if row["received_at"] >= since and not row["read_at"]), key=best_first)
    found = desk.pages({"since": since, "limit": 10})
    assert [one.item.study_instance_uid for one in found] == [row["study_instance_uid"] for row in wanted]


def test_signs_of_patterns_mean_themselves(desk):
    desk.many(20)
    assert desk.uids(text="%") == []
    assert desk.uids(text="a____") == []


def test_regions_are_named_once(desk):
    desk.many(60)
    assert list(desk.list.regions()) == ["XR_HAND", "XR_KNEE"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Åkesson^Görel", "akesson gorel"),
        ("  MÜLLER ^ Ida ^^Dr.", "muller ida dr."),
        ("=山田^太郎", "山田太郎"),
        ("Åkesson, Görel", "akesson gorel"),
        ("山田\uff0c太郎", "山田太郎"),
        ("김 철수", search_key("김철수")),
        ("^^^", None),
        (None, None),
        ("x" * 300, "x" * 64),
    ],
)
def test_names_are_searched_without_case_and_accents(name, key):
    assert search_key(name) == key


@pytest.mark.parametrize(
    "text",
    [
        *("Yamada, Tarou", "yamada^tarou", "Tarou", "tarou yam", "Tarou, Yamada"),
        *("山田", "太郎", "山田太郎", "山田 太郎", "やまだ", "たろう", "ヤマダ"),
    ],
)
def test_a_patient_is_found_by_each_representation_of_the_name_in_either_order(desk, text):
    desk.story.receive(patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert desk.uids(text=text) == ([] if text == "ヤマダ" else [STUDY])
    assert list(SqlAuditLog(desk.worklist.database).studies_of_patient(text, 9)) == desk.uids(text=text)


def test_a_patient_with_another_name_is_found_by_that_alone(desk):
    desk.story.receive(patient_name="Wang^Xiaoming=王^小明", patient_id="P9")
    assert desk.uids(text="小明") == [STUDY]


def test_what_comes_by_the_listener_can_be_searched(desk):
    desk.story.receive(patient_name="Łukasiewicz^Éva", accession_number="ACC77", patient_id="PID9")
    for text in ("łukas", "acc77", "pid9"):
        assert desk.uids(text=text) == [STUDY]


def test_one_reader_a_study(desk):
    desk.story.receive()
    now = desk.story.tick()
    assert desk.list.claim(STUDY, "ada", now, now - AGO) == "ada"
    assert desk.list.claim(STUDY, "bob", now, now - AGO) == "ada"
    assert not desk.list.mark_read(STUDY, "bob", now, seen=1)
    assert not desk.list.release(STUDY, "bob", now)
    assert desk.list.one(STUDY).claimed_by == "ada"
    assert desk.list.release(STUDY, "ada", now)
    assert desk.list.claim(STUDY, "bob", now, now - AGO) == "bob"
    assert desk.list.claim("1.9.9", "bob", now, now - AGO) is None


def test_a_forgotten_claim_is_taken_over(desk):
    desk.story.receive()
    now = desk.story.tick()
    desk.list.claim(STUDY, "ada", now, now - AGO)
    later = now + AGO + timedelta(seconds=1)
    assert desk.list.claim(STUDY, "bob", later, later - AGO) == "bob"


def test_what_was_read_leaves_the_list_until_more_images_come(desk):
    desk.story.receive()
    assert desk.list.mark_read(STUDY, "ada", desk.story.tick(), seen=1)
    assert desk.uids() == []
    assert desk.uids(read=True) == [STUDY]
    assert desk.list.one(STUDY).read_by == "ada"
    desk.story.receive()
    assert desk.uids() == [STUDY]


def test_what_came_while_a_reader_looked_is_not_marked_as_read(desk):
    desk.story.receive()
    desk.story.receive()  # after the page was made
    assert not desk.list.mark_read(STUDY, "ada", desk.story.tick(), seen=1)
    assert desk.uids() == [STUDY]
    assert desk.list.mark_read(STUDY, "ada", desk.story.tick(), seen=2)


def test_what_was_marked_by_mistake_comes_back(desk):
    desk.story.receive()
    desk.list.mark_read(STUDY, "ada", desk.story.tick(), seen=1)
    assert desk.list.mark_unread(STUDY, "bob", desk.story.tick())
    assert desk.uids() == [STUDY]
    assert not desk.list.mark_unread(STUDY, "bob", desk.story.tick())


def test_a_study_that_is_read_at_the_pacs_is_nobody_else_s(desk):
    desk.story.receive()
    workitems, now = workitems_of(desk.worklist), desk.story.tick()
    workitems.change_state(workitem_uid(STUDY), StepState.IN_PROGRESS, "2.25.7", "PACS", now)
    assert desk.list.one(STUDY).claimed_by == "PACS"
    assert desk.list.claim(STUDY, "ada", now, now + AGO) == "PACS"
    workitems.update(workitem_uid(STUDY), "2.25.7", performed().to_json_dict(), "PACS", now)
    done = workitems.change_state(workitem_uid(STUDY), StepState.COMPLETED, "2.25.7", "PACS", now)
    assert done is Verdict.DONE
    assert desk.uids() == []
    assert desk.list.one(STUDY).read_by == "PACS"
