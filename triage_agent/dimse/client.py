"""The client: sends objects to a peer, asks it how many images a study has, and whether it is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

from triage_agent.dimse.kept import KeepingClient
from triage_agent.dimse.outgoing import Context, accepted_contexts, end, exchange
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.statuses import Verdict, judge_store
from triage_agent.domain.commitment import Reference
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID

log = structlog.get_logger(__name__)

_SUCCESS = 0x0000
_UNABLE_TO_PROCESS = 0xC000  # PS3.4 table C.4-1
_PENDING = frozenset({0xFF00, 0xFF01})
_LITTLE_ENDIAN = frozenset({str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)})
_NOBODYS_STUDY = "2.25.1"  # a UUID that nobody draws
_MOST_MATCHES = 100  # for a study that is asked for by its UID; a peer that has no end of them is not listened to
_MOST_MESSAGE_ID = 0xFFFF
_MOST_CONTEXTS = 128  # PS3.8 table 9-18: odd ids up to 255


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """An object to send: its identifiers, and its data set as the file has it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    part10: bytes
    offset: int

    @property
    def contexts(self) -> list[Context]:
        """What to propose: the object's own transfer syntax, and the default one that every peer takes (PS3.5 10.1)."""
        own = (self.sop_class_uid, self.transfer_syntax_uid)
        if self.transfer_syntax_uid not in _LITTLE_ENDIAN:
            return [own]
        return [own, *((self.sop_class_uid, other) for other in sorted(_LITTLE_ENDIAN - {self.transfer_syntax_uid}))]

    def encoded(self, transfer_syntax_uid: str) -> bytes:
        """The data set as it is in the file, or written anew where the peer takes it only so."""
        if transfer_syntax_uid == self.transfer_syntax_uid:
            return self.part10[self.offset :]
        data_set = dcmread(BytesIO(self.part10))
        return encode(data_set, transfer_syntax_uid == ImplicitVRLittleEndian, is_little_endian=True) or b""


class DicomClient(KeepingClient):
    """One peer; safe to call from many threads.

    Objects go over an association that is kept for `idle_seconds` after the last one, and made again when it has gone.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        connect_seconds: float = 10.0,
        answer_seconds: float = 30.0,
        idle_seconds: float = 10.0,
    ) -> None:
        super().__init__(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )
        self._calling_ae_title = calling_ae_title
        self._proposed: list[Context] = []
        self._message_id = 0
        self._closings = 0  # an object that was begun before the last one makes no association any more

    def echo(self) -> str:
        """C-ECHO (PS3.4 annex A); returns what there is to say about it.

        Raises:
            DeliveryError: the peer does not answer, or not with success.
        """
        self._echo()
        return f"{self._caller} answers C-ECHO"

    def echo_is_ours(self) -> bool:
        """Whether this agent's software is what answers C-ECHO there, by its implementation class UID (PS3.7 D.3.3.2).

        Raises:
            DeliveryError: nothing there answers, or not with success.
        """
        return self._echo() == IMPLEMENTATION_CLASS_UID

    def _echo(self) -> str:
        """The implementation class UID of what answered."""
        with self._caller.associated([(Verification, ImplicitVRLittleEndian)]) as association:
            status = association.send_c_echo().get("Status")
            implementation = str(association.acceptor.implementation_class_uid or "")
        if status != _SUCCESS:
            raise DeliveryError(f"{self._caller}: C-ECHO answered {_name(status)}", permanent=False)
        return implementation

    def check_find(self) -> str:
        """Whether the peer would count a study for us (`count_instances`): asks for one that nobody has.

        Raises:
            DeliveryError: it cannot be reached, or takes no Study Root C-FIND from us.
        """
        model = StudyRootQueryRetrieveInformationModelFind
        try:
            with self._caller.associated([(model, ImplicitVRLittleEndian)]) as association:
                answers = association.send_c_find(_question(_NOBODYS_STUDY), model)
                *_, (status, _match) = _until_too_many(association, answers)
        except DeliveryError as error:
            if not error.permanent:
                raise
            raise self._no_find("is not accepted") from error
        if status.get("Status") != _SUCCESS:
            raise self._no_find(f"answered {_name(status.get('Status'))}")
        return f"{self._caller} takes C-FIND"

    def _no_find(self, what: str) -> DeliveryError:
        remedy = f"the PACS must allow C-FIND from our AE title {self._calling_ae_title}"
        return DeliveryError(f"{self._caller}: C-FIND {what}", permanent=True, remedy=remedy)

    def store(self, part10: bytes | Path) -> None:
        """Send a Part 10 file by C-STORE (PS3.4 annex B); returns when the peer has accepted it.

        Raises:
            DeliveryError: it was not accepted; `statuses` has the table of what can be tried again.
        """
        outgoing = _read(part10.read_bytes() if isinstance(part10, Path) else part10)
        closings = self._closings
        with self._lock:
            status = self._send(outgoing, closings)
        verdict = judge_store(status)
        if verdict is not Verdict.ACCEPTED:
            raise DeliveryError(
                f"{self._caller}: C-STORE answered {_name(status)}", permanent=verdict is Verdict.PERMANENT
            )
        if status != _SUCCESS:
            log.info("stored_with_remark", peer=self.peer.name, status=_name(status))

    def count_instances(self, study_instance_uid: str) -> int | None:
        """Number of Study Related Instances by Study Root C-FIND (PS3.4 C.6.2.1.2); None when the peer does not say."""
        try:
            association = self._caller.associate([(StudyRootQueryRetrieveInformationModelFind, ImplicitVRLittleEndian)])
        except DeliveryError as error:
            log.warning("peer_not_asked", peer=self.peer.name, why=error.message)
            return None
        try:
            return _counted(association, _question(study_instance_uid))
        except Exception as error:  # noqa: BLE001 - whatever a peer answers, the quiet period decides then
            log.warning("peer_answer_unreadable", peer=self.peer.name, error=type(error).__name__)
            return None
        finally:
            end(association)

    def close(self) -> None:
        """See `KeepingClient.close`; an object that was begun before makes no association any more."""
        self._closings += 1
        super().close()

    def _send(self, outgoing: _Outgoing, closings: int) -> int:
        """The status of one C-STORE, on the kept association, or on a new one when that turns out to be dead."""
        self._refuse_when_closed_since(closings)
        kept = self._usable(outgoing)
        if kept is not None:
            status = self._try(kept, outgoing)
            if status is not None:
                return status
        self._let_go()
        self._refuse_when_closed_since(closings)
        self._kept = self._caller.associate(self._to_propose(outgoing))
        status = self._try(self._kept, outgoing)
        if status is None:
            self._let_go()
            raise DeliveryError(f"{self._caller}: no answer to C-STORE", permanent=False, away=True)
        return status

    def _refuse_when_closed_since(self, closings: int) -> None:
        if self._closings != closings:
            raise DeliveryError(f"{self._caller}: we hung up before it was sent", permanent=False)

    def _usable(self, outgoing: _Outgoing) -> Association | None:
        if self._kept is None or not self._kept.is_established:
            return None
        return self._kept if set(outgoing.contexts) <= set(self._proposed) else None

    def _to_propose(self, outgoing: _Outgoing) -> list[Context]:
        """What was needed before and what is needed now, as far as an association can hold it."""
        needed = outgoing.contexts
        before = [context for context in self._proposed if context not in needed]
        self._proposed = [*needed, *before][:_MOST_CONTEXTS]
        return self._proposed

    def _try(self, association: Association, outgoing: _Outgoing) -> int | None:
        """The status the peer answers on this association; None when it does not.

        Raises:
            DeliveryError: the peer does not take this SOP class.
        """
        accepted = accepted_contexts(association)
        context = next((context for context in outgoing.contexts if context in accepted), None)
        if context is None:
            raise DeliveryError(
                f"{self._caller}: SOP class {UID(outgoing.sop_class_uid).name} is not accepted",
                permanent=True,
                remedy="let the peer take this SOP class, or send it another kind of result",
            )
        self._message_id = self._message_id % _MOST_MESSAGE_ID + 1
        request = C_STORE()
        request.MessageID = self._message_id
        request.AffectedSOPClassUID = UID(outgoing.sop_class_uid)
        request.AffectedSOPInstanceUID = UID(outgoing.sop_instance_uid)
        request.Priority = 0  # medium
        request.DataSet = BytesIO(outgoing.encoded(context[1]))
        answer = exchange(association, request, accepted[context])
        return None if answer is None else answer.Status


def reference_of(part10: bytes) -> Reference:
    """How other messages name a Part 10 file's object.

    Raises:
        DeliveryError: it is none.
    """
    outgoing = _read(part10)
    return Reference(outgoing.sop_class_uid, outgoing.sop_instance_uid)


def proposed_for(part10: bytes) -> list[Context]:
    """The presentation contexts that storing this file proposes.

    Raises:
        DeliveryError: it is no Part 10 file.
    """
    return _read(part10).contexts


def _read(part10: bytes) -> _Outgoing:
    """Take a Part 10 file apart.

    Raises:
        DeliveryError: it is none.
    """
    file = BytesIO(part10)
    try:
        read_preamble(file, force=False)
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
        return _Outgoing(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            part10=part10,
            offset=file.tell(),
        )
    except (InvalidDicomError, AttributeError, EOFError, ValueError) as error:
        raise DeliveryError(f"not a Part 10 file ({type(error).__name__})", permanent=True) from error


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2  # noqa: PLR2004 - file meta information


def _question(study_instance_uid: str) -> Dataset:
    question = Dataset()
    question.QueryRetrieveLevel = "STUDY"
    question.StudyInstanceUID = study_instance_uid
    question.NumberOfStudyRelatedInstances = None
    return question


def _until_too_many(
    association: Association, answers: Iterator[tuple[Dataset, Dataset | None]]
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """The answers to a question; each comes in bounded time, and after too many of them the last one is a failure."""
    for number, answer in enumerate(answers):
        if number == _MOST_MATCHES:
            association.abort()
            refused = Dataset()
            refused.Status = _UNABLE_TO_PROCESS
            yield refused, None
            return
        yield answer


def _counted(association: Association, question: Dataset) -> int | None:
    """The number in the one match; None without a match, without the number, or with a failure."""
    count = None
    answers = association.send_c_find(question, StudyRootQueryRetrieveInformationModelFind)
    for status, match in _until_too_many(association, answers):
        if status.get("Status") in _PENDING and match is not None:
            number = match.get("NumberOfStudyRelatedInstances")
            count = int(number) if number not in {None, ""} else None
        elif status.get("Status") != _SUCCESS:
            return None
    return count


def _name(status: int | None) -> str:
    return "nothing" if status is None else f"0x{status:04X}"
