"""A STOW-RS body while it comes, whatever pieces it comes in; the way in is the same as for DIMSE."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from structlog.testing import capture_logs
from support.instances import DEFLATED, DX, EXPLICIT, dx, part10

from triage_agent.domain.errors import StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Registered
from triage_agent.domain.priorities import PriorityWords
from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import AuditAction, Priority
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.web.storing import BadRequestError, Door, StoreSession
from triage_agent.worklist.memory import MemoryWorklist

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
RULE = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))
BOUNDARY = b"b0undary"


class Recording(MemoryWorklist):
    def __init__(self):
        super().__init__()
        self.events, self.sources = [], []

    def record_audit(self, event):
        self.events.append(event)
        super().record_audit(event)

    def register(self, received, rule):
        self.sources.append(received.source)
        return super().register(received, rule)


@pytest.fixture
def site(tmp_path):
    class Site:
        spool = Spool(tmp_path / "spool", low_water_percent=0)
        worklist = Recording()
        receiver = Receiver(spool, worklist, RULE, lambda: T0)
        door = Door(begin=receiver.begin, receive=receiver.keep, warn_on_conflict=True)

        def files(self, folder="incoming"):
            return [path for path in (self.spool.root / folder).rglob("*") if path.is_file()]

    return Site()


def body(*files, kind=b"application/dicom", boundary=BOUNDARY):
    parts = [b"--" + boundary + b"\r\nContent-Type: " + kind + b"\r\n\r\n" + file + b"\r\n" for file in files]
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def store(site, content, *, pieces=None, door=None, **options):
    session = StoreSession(door or site.door, BOUNDARY, source="EDGE", **options)
    try:
        for piece in pieces or [content]:
            session.feed(piece)
        session.finish()
    finally:
        session.close()
    return session.kept


def test_instances_are_stored_registered_and_named_by_who_sent_them(site):
    images = [dx() for _ in range(3)]
    kept = store(site, body(*map(part10, images)))
    assert [(one.reason, one.warning) for one in kept] == [(None, None)] * 3
    assert [one.sop_instance_uid for one in kept] == [str(image.SOPInstanceUID) for image in images]
    assert {one.sop_class_uid for one in kept} == {DX}
    assert len(site.files()) == 3
    assert {item.study_instance_uid for item in site.worklist.items()} == {str(one.StudyInstanceUID) for one in images}
    assert site.worklist.sources == ["EDGE"] * 3


def test_a_site_s_own_word_for_a_priority_is_understood_also_where_the_request_names_the_study(site):
    words = PriorityWords.of({Priority.URGENT: ["CITO"]})
    receiver = Receiver(site.spool, site.worklist, RULE, lambda: T0, words=words)
    door = Door(begin=receiver.begin, receive=receiver.keep, words=words)
    image = dx(RequestedProcedurePriority="cito")
    with capture_logs() as lines:
        (kept,) = store(site, body(part10(image)), door=door, study_instance_uid=str(image.StudyInstanceUID))
    assert (kept.reason, lines) == (None, [])
    assert [item.priority for item in site.worklist.items()] == [Priority.URGENT]


def test_what_is_stored_is_what_dimse_would_have_stored(site):
    image = dx()
    store(site, body(part10(image)))
    (registered,) = site.files()
    digest = site.worklist.digest_of(str(image.SOPInstanceUID))
    outcome = site.receiver.receive(
        _data_set(part10(image)),
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=DX,
        sop_instance_uid=str(image.SOPInstanceUID),
        source="PACS",
    )
    assert outcome.outcome is Registered.DUPLICATE
    assert digest is not None
    assert site.files() == [registered]


def _data_set(file):
    """What stands behind a file's meta information, whose length it says itself."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_pieces_that_it_comes_in_make_no_difference(size, site):
    images = [dx(PatientComments="--b0undary\r\n--b0undar" * 40) for _ in range(2)]
    content = body(*map(part10, images))
    kept = store(site, None, pieces=[content[at : at + size] for at in range(0, len(content), size)])
    assert [one.reason for one in kept] == [None, None]
    assert len(site.files()) == 2


def test_a_large_instance_goes_to_the_disk_as_it_comes(site):
    image = dx()
    image.add_new(0x7FE00010, "OB", Random(1).randbytes(3 << 20))
    content = body(part10(image))
    session = StoreSession(site.door, BOUNDARY, source="EDGE")
    for at in range(0, 2 << 20, 1 << 16):
        session.feed(content[at : at + (1 << 16)])
    assert sum(path.stat().st_size for path in site.files("tmp")) > 1 << 20
    session.close()
    assert not site.files("tmp")
    assert store(site, content)[0].reason is None


def test_deflated_files_come_in_too(site):
    assert store(site, body(part10(dx(), DEFLATED)))[0].reason is None


def test_a_file_without_the_length_of_its_meta_information_comes_in_too(site):
    file = part10(dx())
    without = file[:132] + file[144:]
    assert store(site, body(without))[0].reason is None
    assert store(site, None, pieces=[body(without)[at : at + 5] for at in range(0, len(body(without)), 5)])


def test_the_same_again_is_done_once(site):
    content = body(part10(dx()))
    assert store(site, content) == store(site, content)
    assert len(site.files()) == 1


def test_other_bytes_of_a_known_instance_are_warned_of(site):
    image = dx()
    store(site, body(part10(image)))
    image.PatientID = "P2"
    (kept,) = store(site, body(part10(image)))
    assert (kept.reason, kept.warning) == (None, 0xB000)


@pytest.mark.parametrize(
    "file", [b"no DICOM at all", b"", b"\0" * 128 + b"DICM", b"\0" * 70_000, part10(dx())[:200], part10(dx())[:-30]]
)
def test_what_is_no_instance_has_its_reason_and_costs_no_other(file, site):
    good = [dx(), dx()]
    kept = store(site, body(part10(good[0]), file, part10(good[1])))
    assert [kept[0].reason, kept[2].reason] == [None, None]
    assert kept[1].reason in {0xA900, None}
    assert len(kept) == 3
    if kept[1].reason:
        assert AuditAction.INSTANCE_QUARANTINED in [event.action for event in site.worklist.events]


def test_an_instance_that_is_not_the_one_its_meta_information_names_does_not_match(site):
    file = part10(dx())
    image = dx()
    (kept,) = store(site, body(file[: 144 + int.from_bytes(file[140:144], "little")] + _data_set(part10(image))))
    assert kept.reason == 0xA900
    assert not site.files()


def test_only_the_study_that_is_named_is_taken(site):
    mine, other = dx(), dx()
    kept = store(site, body(part10(mine), part10(other)), study_instance_uid=str(mine.StudyInstanceUID))
    assert [one.reason for one in kept] == [None, 0xA900]
    assert len(site.files()) == 1


def test_a_part_of_another_kind_is_not_understood(site):
    (kept,) = store(site, body(part10(dx()), kind=b"application/dicom+json"))
    assert kept.reason == 0xC000
    assert not site.files()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageExhaustedError("full"), 0xA700),
        (WorklistUnavailableError("away"), 0xA700),
        (ValueError("Doe^Jane"), 0x0110),
    ],
)
def test_nothing_is_called_stored_that_is_not(error, reason, site):
    def receive(incoming):
        raise error

    door = Door(begin=site.receiver.begin, receive=receive)
    (kept,) = store(site, body(part10(dx())), door=door)
    assert kept.reason == reason


def test_each_answer_is_counted_as_a_status_of_a_store(site):
    statuses = []
    door = Door(begin=site.receiver.begin, receive=site.receiver.keep, answered=statuses.append, warn_on_conflict=True)
    image = dx()
    store(site, body(part10(image), b"no DICOM"), door=door)
    image.PatientID = "P2"
    store(site, body(part10(image)), door=door)
    assert statuses == [0x0000, 0xA900, 0xB000]


def test_an_instance_that_is_too_long_is_dropped_as_it_comes(site):
    image = dx()
    image.add_new(0x7FE00010, "OB", b"\0" * 100_000)
    door = Door(begin=site.receiver.begin, receive=site.receiver.keep, largest=50_000)
    kept = store(site, body(part10(image), part10(dx())), door=door)
    assert [one.reason for one in kept] == [0xA700, None]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"--other\r\n",
        b"GET / HTTP/1.1",
        body(b"x")[:-4],
        b"--b0undary\r\n" + b"X: y\r\n" * 100,
        b"--b0undary\r\nX: " + b"y" * 10_000,
        b"--b0undary\r\n\x00\xff: y\r\n\r\n",
        b"--b0undary",
        b"--b0undary\r\n--b0undary--",
    ],
)
def test_a_body_that_is_no_multipart_is_refused_and_leaves_nothing(content, site):
    with pytest.raises(BadRequestError):
        store(site, content)
    assert not site.files()
    assert not site.files("tmp")


def test_hostile_bytes_end_in_an_answer(site):
    rng = Random(7)
    good = body(*(part10(dx()) for _ in range(2)))
    for _ in range(25):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 20)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        at = rng.randrange(len(bad))
        try:
            kept = store(site, None, pieces=[bytes(bad[:at]), bytes(bad[at:])])
        except BadRequestError:
            continue
        assert kept
    assert not site.files("tmp")
