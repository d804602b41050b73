"""What a peer sends that may use workitems, and that makes no sense: it is refused, and the association goes on."""

import gc
import time
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_SET
from support.story import STUDY, Story
from support.ups import PULL, PUSH, calling, find, keys, ups_agent

from triage_agent.domain.workitem import workitem_uid

pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning", "ignore:Invalid value", "ignore:The value length"
)

UID_OF = workitem_uid(STUDY)
GARBAGE = b"\xff" * 333


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def reader(tmp_path, sqlite_url):
    with ups_agent(sqlite_url, tmp_path / "spool") as running:
        Story(running.worklist).receive(STUDY, patient_id="P1")
        with calling(running.port, classes=(PULL, PUSH)) as association:
            yield association


def nested(depth):
    """Sequences in sequences, implicit VR little endian."""
    opens = b"\x74\x00\x02\x10\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closes = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return opens * depth + closes * depth


def ask(association, request, body, field):
    """The status of a request with these bytes as its data set."""
    request.MessageID = 1
    setattr(request, field, BytesIO(body))
    context = association._get_valid_context(PULL, "", "scu", allow_conversion=True)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert answer is not None, "no answer"
    return answer.Status


def requests():
    create, change, act = N_CREATE(), N_SET(), N_ACTION()
    create.AffectedSOPClassUID, create.AffectedSOPInstanceUID = UID(PUSH), UID("2.25.9")
    change.RequestedSOPClassUID, change.RequestedSOPInstanceUID = UID(PUSH), UID(UID_OF)
    act.RequestedSOPClassUID, act.RequestedSOPInstanceUID, act.ActionTypeID = UID(PUSH), UID(UID_OF), 1
    return [(create, "AttributeList"), (change, "ModificationList"), (act, "ActionInformation")]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("body", [GARBAGE, nested(300), nested(20_000)], ids=["garbage", "nested", "deep"])
def test_a_senseless_data_set_is_refused_and_the_next_request_answered(reader, number, body):
    request, field = requests()[number]
    assert ask(reader, request, body, field) in {0x0110, 0x0115, 0x0120, 0x0213}
    (found,), _ = find(reader, keys())
    assert (found.SOPInstanceUID, found.ProcedureStepState) == (UID_OF, "SCHEDULED")


@pytest.mark.parametrize(("body", "status"), [(GARBAGE, 0xA900)])
def test_a_senseless_query_is_refused(reader, body, status):
    query = C_FIND()
    query.AffectedSOPClassUID, query.Priority = UID(PULL), 2
    assert ask(reader, query, body, "Identifier") == status
    assert len(find(reader, keys())[0]) == 1


@pytest.mark.parametrize(
    "wanted",
    [
        {"PatientID": "*" * 3000},
        {"PatientID": "[!a-z]*" * 100},
        {"ScheduledProcedureStepPriority": "SOMETHING"},
    ],
)
def test_an_odd_key_matches_nothing_or_everything_and_soon(reader, wanted):
    found, status = find(reader, keys(**wanted))
    assert status == 0
    assert len(found) <= 1


def test_what_a_peer_sets_is_never_in_the_way_of_others(reader):
    """Odd values are refused, or read back by everybody."""
    given = Dataset()
    given.CommentsOnTheScheduledProcedureStep = "\x1b[31m\\forged\r\nline"
    given.ScheduledProcedureStepModificationDateTime = "not a time"
    status, _ = reader.send_n_set(given, PUSH, UID_OF, meta_uid=PULL)
    assert status.Status in {0x0000, 0x0115, 0xB305}
    assert len(find(reader, keys(CommentsOnTheScheduledProcedureStep=""))[0]) == 1


def test_a_date_that_is_none_is_refused(reader):
    found, status = find(reader, keys(ScheduledProcedureStepStartDateTime="-"))
    assert (found, status) == ([], 0xA900)
