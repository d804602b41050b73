"""Results sent as workitems to a PACS that owns the worklist: created, then brought up to date, and never lowered."""

import gc
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from support import story
from support.callees import close_for_sure
from support.ups import PULL, PUSH, calling, claim, find, keys, ups_agent

from triage_agent.delivery.dimse import DimseTransport
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.domain.workitem import workitem_uid
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

STUDY = "1.2.840.1"
UID = workitem_uid(STUDY)


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


def artifact(result=None, **changes):
    """The workitem of a result."""
    image = Dataset()
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID = f"{STUDY}.1", f"{STUDY}.9", STUDY
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName, image.PatientID, image.AccessionNumber = "Müller^Jürgen", "P1", "A1"
    result = replace(result or story.decision(STUDY), **changes)
    return REGISTRY[ArtifactKind.UPS].build(ResultContext(result=result, headers=(image,)))


class OwningPacs:
    """A PACS that keeps workitems; `refuse` is what it answers instead."""

    def __init__(self):
        self.kept, self.requests, self.refuse = {}, [], {}

    def on_create(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        return self._answer(
            "create", 0x0111 if uid in self.kept else 0, lambda: self.kept.update({uid: event.attribute_list})
        )

    def on_get(self, event):
        self.requests.append("get")
        return 0, self.kept[str(event.request.RequestedSOPInstanceUID)]

    def on_set(self, event):
        uid = str(event.request.RequestedSOPInstanceUID)
        return self._answer("set", 0, lambda: self.kept[uid].update(event.modification_list))

    def _answer(self, what, status, do):
        self.requests.append(what)
        status = self.refuse.get(what) or status
        if not status:
            do()
        return status, None

    @contextmanager
    def listening(self):
        entity = AE(ae_title="PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        for one in (PUSH, PULL):
            entity.add_supported_context(one)
        handlers = [
            (evt.EVT_CONN_OPEN, close_for_sure),
            (evt.EVT_N_CREATE, self.on_create),
            (evt.EVT_N_GET, self.on_get),
            (evt.EVT_N_SET, self.on_set),
        ]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        try:
            yield server.server_address[1]
        finally:
            entity.shutdown()


@contextmanager
def transport_to(port, ae_title="PACS", calling_ae_title="TRIAGE"):
    endpoint = Endpoint(
        host="127.0.0.1", port=port, ae_title=ae_title, calling_ae_title=calling_ae_title, answer_seconds=5.0
    )
    transport = DimseTransport(endpoint)
    try:
        yield transport
    finally:
        transport.close()


@pytest.fixture
def pacs():
    return OwningPacs()


@pytest.fixture
def transport(pacs):
    with pacs.listening() as port, transport_to(port) as opened:
        yield opened


def test_a_result_makes_the_workitem_of_its_study(pacs, transport):
    transport.send(artifact())
    (kept,) = pacs.kept.values()
    assert list(pacs.kept) == [UID]
    assert (kept.ScheduledProcedureStepPriority, kept.ProcedureStepState) == ("MEDIUM", "SCHEDULED")
    assert (kept.PatientName, kept.ReferencedRequestSequence[0].AccessionNumber) == ("Müller^Jürgen", "A1")
    assert kept.InputInformationSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{STUDY}.1"
    assert "Preliminary. Made by a machine." in kept.CommentsOnTheScheduledProcedureStep


def test_a_resend_and_a_later_result_change_the_same_workitem(pacs, transport):
    transport.send(artifact(story.flag(STUDY, image=f"{STUDY}.1")))
    transport.send(artifact(story.flag(STUDY, image=f"{STUDY}.1")))
    transport.send(artifact(revision=2, priority=Priority.STAT))
    assert list(pacs.kept) == [UID]
    assert pacs.kept[UID].ScheduledProcedureStepPriority == "HIGH"
    assert pacs.requests == ["create", "create", "get", "set", "create", "get", "set"]


def test_the_images_of_a_flag_may_not_be_all(pacs, transport):
    transport.send(artifact(story.flag(STUDY, image=f"{STUDY}.1")))
    assert pacs.kept[UID].InputReadinessState == "INCOMPLETE"
    transport.send(artifact())
    assert pacs.kept[UID].InputReadinessState == "READY"


def test_a_priority_that_the_pacs_has_is_never_lowered(pacs, transport):
    transport.send(artifact(priority=Priority.STAT))
    transport.send(artifact(revision=2, priority=Priority.ROUTINE))
    assert pacs.kept[UID].ScheduledProcedureStepPriority == "HIGH"


@pytest.mark.parametrize("status", [0xC300, 0xC301])
def test_what_is_read_or_being_read_is_left_alone(pacs, transport, status):
    transport.send(artifact())
    pacs.refuse["set"] = status
    transport.send(artifact(priority=Priority.STAT))
    assert pacs.kept[UID].ScheduledProcedureStepPriority == "MEDIUM"


@pytest.mark.parametrize(("status", "permanent"), [(0x0213, False), (0x0124, True), (0x0106, True)])
def test_a_refusal_says_whether_a_retry_can_help(pacs, transport, status, permanent):
    pacs.refuse["create"] = status
    with pytest.raises(DeliveryError, match=f"0x{status:04X}") as caught:
        transport.send(artifact())
    assert caught.value.permanent is permanent


def test_two_agents_understand_each_other(tmp_path, sqlite_url):
    with ups_agent(sqlite_url, tmp_path / "spool") as owner, transport_to(owner.port, "TRIAGE", "READER") as transport:
        transport.send(artifact())
        transport.send(artifact(priority=Priority.STAT))
        with calling(owner.port) as reader:
            found, _ = find(reader, keys(PatientName="M*"))
            assert [(one.SOPInstanceUID, one.ScheduledProcedureStepPriority) for one in found] == [(UID, "HIGH")]
            assert claim(reader, UID) == 0
        transport.send(artifact(revision=2))  # while it is being read
