"""Studies are fetched from Orthanc, from dcmtk's archive, and from a PACS that does what real ones do on bad days."""

import threading
import time
from datetime import timedelta

import pytest
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from support.archives import (
    PENDING,
    ScriptedArchive,
    dcmqrscp_server,
    fill,
    introduce,
    refuses,
    retrieval_client,
    running,
    sends_all,
    study_files,
)
from support.callees import scp
from support.instances import DX, encode
from support.listener import RULE, utc_now
from support.orthanc import orthanc_server

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.retrieval import RetrievalError, RetrievalState, Wanted
from triage_agent.intake.fetching import Fetcher, FetchRule
from triage_agent.intake.receiver import Receiver

WAYS = pytest.mark.parametrize("way", ["move", "get"])
LEASE = timedelta(seconds=60)


class Site:
    """A listener whose worklist wants a study, and what fetches it."""

    def __init__(self, listening, folder):
        self.listening = listening
        self.worklist = listening.worklist
        self.receiver = Receiver(listening.spool, listening.worklist, RULE, utc_now)
        self.folder = folder / "files"
        self.data_sets = study_files(self.folder)
        self.uid = str(self.data_sets[0].StudyInstanceUID)
        self.clients = []

    def client(self, port, way, **waits):
        self.clients.append(retrieval_client(port, self.receiver, way, **waits))
        return self.clients[-1]

    def fetch(self, port, way="move", tries=1, **waits):
        """What each try gave."""
        arrival = timedelta(seconds=1 if way == "move" else 0)
        rule = FetchRule(tries=tries, pause=timedelta(0), arrival=arrival)
        fetcher = Fetcher(
            worklist=self.worklist,
            archive=self.client(port, way, **waits),
            rule=rule,
            clock=utc_now,
            wait=threading.Event().wait,
        )
        self.worklist.want_retrieval(self.uid, "pacs", utc_now(), requested_by="fetch")
        given = []
        while self.record.state is RetrievalState.WAITING:
            given.append(fetcher.attempt(self.worklist.claim_retrieval("w1", utc_now(), LEASE, self.uid)))
        return given

    def receive(self, *data_sets):
        for one in data_sets:
            self.receiver.receive(
                memoryview(encode(one)),
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                sop_class_uid=DX,
                sop_instance_uid=str(one.SOPInstanceUID),
                source="MODALITY",
            )

    @property
    def record(self):
        return self.worklist.retrieval_of(self.uid)

    @property
    def here(self):
        return self.worklist.held_of(self.uid).instances

    def archive(self):
        return ScriptedArchive(self.data_sets, self.listening.port)


@pytest.fixture
def site(listening, tmp_path):
    made = Site(listening, tmp_path)
    yield made
    for client in made.clients:
        client.close()


def all_here(site):
    return site.here == {one.SOPInstanceUID for one in site.data_sets}


# --- real ones --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.mark.external
@WAYS
def test_what_is_missing_comes_from_orthanc(site, orthanc, way):
    introduce(orthanc, site.listening.port)
    fill(orthanc.port, site.folder.iterdir())
    client = site.client(orthanc.port, way)
    assert f"takes C-FIND and C-{way.upper()}" in client.check()
    assert client.study(site.uid).instances == 3
    assert site.uid in [one.study_instance_uid for one in client.studies_of_order("A1")]
    assert client.study("2.25.42") is None
    site.receive(site.data_sets[0])
    (tried,) = site.fetch(orthanc.port, way)
    assert (tried.fetched, tried.lacking, tried.operations.completed) == (2, 0, 2)
    assert all_here(site)
    assert (site.record.state, site.record.expected) == (RetrievalState.DONE, 3)


@pytest.mark.external
@WAYS
def test_what_is_missing_comes_from_dcmtk_s_archive(site, tmp_path, way):
    with dcmqrscp_server(tmp_path / "archive", site.listening.port) as port:
        fill(port, site.folder.iterdir())
        client = site.client(port, way)
        assert f"takes C-FIND and C-{way.upper()}" in client.check()
        site.receive(site.data_sets[1])
        (tried,) = site.fetch(port, way)
        assert (tried.fetched, tried.lacking, tried.operations.completed) == (2, 0, 2)
        assert all_here(site)


@pytest.mark.external
def test_an_archive_that_does_not_know_us_says_so_and_we_say_what_to_do(site, tmp_path):
    with dcmqrscp_server(tmp_path / "archive", site.listening.port) as port:
        fill(port, site.folder.iterdir())
        sent = site.client(port, "move", calling="NOBODY").retrieve([Wanted(study_instance_uid=site.uid)], ())
        assert sent.error.permanent
        assert "0xA801" in sent.error.message
        assert sent.error.remedy == "make our AE title NOBODY at here:104 known to the PACS as a move destination"


# --- one that misbehaves ----------------------------------------------------------------------------------------------
@WAYS
def test_an_instance_that_failed_is_fetched_at_the_next_try(site, way):
    archive = site.archive()
    archive.moves = [lambda archive, event: sends_all(archive, event, only=1)]
    with running(archive) as port:
        first, second = site.fetch(port, way, tries=2)
    assert first.fetched + second.fetched == 3
    assert (second.lacking, second.error) == (0, None)
    assert all_here(site)


def test_a_sub_operation_is_answered_success_only_for_what_is_kept(site):
    full = [StorageExhaustedError("full"), StorageExhaustedError("full")]
    keep = site.receiver.keep

    def keep_unless_full(incoming):
        if full:
            raise full.pop()
        return keep(incoming)

    site.receiver.keep = keep_unless_full
    with running(site.archive()) as port:
        first, second = site.fetch(port, "get", tries=2)
    assert (first.operations.failed, first.operations.completed, first.lacking) == (2, 1, 2)
    assert (second.fetched, second.lacking) == (2, 0)
    assert all_here(site)


def test_a_data_set_that_comes_by_c_get_is_in_no_memory_as_a_whole(site):
    site.data_sets[0].add_new("PixelData", "OW", bytes(3 << 20))
    begin, pieces, files = site.receiver.begin, [], []

    def begin_and_watch(**request):
        incoming = begin(**request)
        assert request["source"] == "PACS"
        write = incoming.write

        def write_and_watch(fragment):
            pieces.append(len(fragment))
            files.append(len(list((site.receiver._spool.root / "tmp").iterdir())))
            return write(fragment)

        incoming.write = write_and_watch
        return incoming

    site.receiver.begin = begin_and_watch
    with running(site.archive()) as port:
        (tried,) = site.fetch(port, "get")
    assert tried.lacking == 0
    assert sum(pieces) > 3 << 20
    assert max(pieces) <= 1 << 17  # what a PDU may have
    assert max(files) == 1  # the unfinished file
    assert all_here(site)


def test_what_a_pacs_that_hangs_up_had_begun_to_send_is_left_nowhere(site):
    site.data_sets[0].add_new("PixelData", "OW", bytes(3 << 20))
    keep = site.receiver.keep

    def keep_and_hang_up(incoming):
        client.close()
        return keep(incoming)

    site.receiver.keep = keep_and_hang_up
    with running(site.archive()) as port:
        client = site.client(port, "get")
        sent = client.retrieve([Wanted(study_instance_uid=site.uid)], ())
    assert sent.error is not None
    assert list((site.receiver._spool.root / "tmp").iterdir()) == []


@WAYS
def test_a_pacs_that_sends_fewer_than_it_promised_is_given_up(site, way):
    archive = site.archive()
    archive.promised = 5
    with running(archive) as port:
        tried = site.fetch(port, way, tries=2)
    assert [(one.fetched, one.lacking) for one in tried] == [(3, 2), (0, 2)]
    assert site.record.state is RetrievalState.GIVEN_UP
    assert site.record.shortfall(site.here) == "3 of 5 images; pacs did not send 2"


@WAYS
@pytest.mark.parametrize("status", [0xA701, 0xA702, 0xC001])
def test_a_pacs_that_cannot_send_now_is_asked_a_bounded_number_of_times(site, way, status):
    archive = site.archive()
    archive.moves = [refuses(status), refuses(status)]
    with running(archive) as port:
        tried = site.fetch(port, way, tries=2)
    assert len(archive.asked) == 2
    assert [one.lacking for one in tried] == [3, 3]
    assert f"0x{status:04X}" in site.record.last_error
    assert site.record.state is RetrievalState.GIVEN_UP


def test_a_pacs_that_does_not_know_us_is_asked_once(site):
    archive = site.archive()

    def nowhere(_archive, _event):
        yield (None, None)

    archive.moves = [nowhere, nowhere]
    with running(archive) as port:
        with pytest.raises(RetrievalError, match="0xA801"):
            site.client(port, "move").check()
        (tried,) = site.fetch(port, tries=3)
    assert tried.error.permanent
    assert "0xA801" in site.record.last_error
    assert "known to the PACS as a move destination" in site.record.last_error


@WAYS
def test_a_pacs_that_aborts_midway_is_asked_for_the_rest(site, way):
    archive = site.archive()

    def aborts(archive, event):
        found = archive.matching(event.identifier)
        if way == "move":
            yield next(sends_all(archive, event))
        yield len(found)
        yield PENDING, found[0]
        event.assoc.abort()

    archive.moves = [aborts]
    with running(archive) as port:
        first, second = site.fetch(port, way, tries=2)
    assert (first.fetched, first.lacking) == (1, 2)
    assert (second.fetched, second.lacking) == (2, 0)
    assert all_here(site)


def endless(event, stop):
    """Answers that say nothing and have no end, past what pynetdicom's own handlers can do."""
    kind = C_MOVE if event.event is evt.EVT_C_MOVE else C_GET
    while event.assoc.is_established and not stop.is_set():
        answer = kind()
        answer.MessageIDBeingRespondedTo = event.message_id
        answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
        answer.Status = PENDING
        answer.NumberOfRemainingSuboperations = 3
        answer.NumberOfCompletedSuboperations = answer.NumberOfFailedSuboperations = 0
        answer.NumberOfWarningSuboperations = 0
        event.assoc.dimse.send_msg(answer, event.context.context_id)
        time.sleep(0.05)


@WAYS
def test_a_pacs_that_answers_pending_for_ever_is_given_up(site, way):
    archive, stop = site.archive(), threading.Event()

    def never_ends(_archive, event):
        endless(event, stop)
        yield from refuses(0xC000)(_archive, event)

    archive.moves = [never_ends]
    with running(archive) as port:
        try:
            (tried,) = site.fetch(port, way, request_seconds=1.0)
        finally:
            stop.set()
    assert "did not end in 1 s" in tried.error.message
    assert not tried.error.permanent


@WAYS
def test_a_pacs_that_says_nothing_at_all_is_given_up(site, way):
    archive, stop = site.archive(), threading.Event()

    def silent(archive, event):
        stop.wait(240)
        yield from refuses(0xC000)(archive, event)

    archive.moves = [silent]
    with running(archive) as port:
        try:
            (tried,) = site.fetch(port, way, request_seconds=1.0)
        finally:
            stop.set()
    assert "without an answer" in tried.error.message


def test_a_question_without_an_end_is_given_up(site):
    archive = site.archive()
    archive.endless_find = True
    with running(archive) as port, pytest.raises(RetrievalError, match="C-FIND has no end"):
        site.client(port, "move", request_seconds=0.5).study(site.uid)


def test_a_pacs_that_lists_no_instances_is_asked_for_the_study_and_counted(site):
    archive = site.archive()
    archive.lists = False
    site.receive(site.data_sets[0])
    with running(archive) as port:
        (tried,) = site.fetch(port)
    assert (tried.fetched, tried.lacking) == (2, 0)
    (asked,) = archive.asked
    assert asked.QueryRetrieveLevel == "STUDY"


def test_hanging_up_ends_a_move_at_once(site):
    archive, begun, stop = site.archive(), threading.Event(), threading.Event()

    def slow(archive, event):
        begun.set()
        stop.wait(240)
        yield from refuses(0xC000)(archive, event)

    archive.moves = [slow]
    with running(archive) as port:
        client = site.client(port, "move")
        ended = []
        study = [Wanted(study_instance_uid=site.uid)]
        asking = threading.Thread(target=lambda: ended.append(client.retrieve(study, ())))
        asking.start()
        assert begun.wait(60)
        client.close()
        asking.join(60)
        stop.set()
        assert not asking.is_alive()
    assert not ended[0].error.permanent
    with pytest.raises(RetrievalError, match="hung up"):
        client.study(site.uid)


def test_a_pacs_that_takes_no_such_request_is_told_by_check(site):
    with scp(contexts=[StudyRootQueryRetrieveInformationModelFind], ae_title="PACS") as port:
        for way in ("move", "get"):
            asked = site.client(port, way)
            with pytest.raises(RetrievalError, match=f"does not take C-{way.upper()}") as raised:
                asked.check()
            assert "TRIAGE" in raised.value.remedy
