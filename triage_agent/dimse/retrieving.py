"""Fetches studies: C-FIND, C-MOVE and C-GET as SCU (PS3.4 annex C, Study Root information model)."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from triage_agent.dimse.outgoing import Caller, Context, accepted_contexts
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.retrieve_statuses import MOVE_DESTINATION_UNKNOWN, PENDING, SUCCESS, judge_retrieve
from triage_agent.dimse.sub_operations import Keeper, SubOperationsServer, contexts_to_keep
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.quiet import quiet
from triage_agent.domain.retrieval import (
    RemoteInstance,
    RemoteStudy,
    RetrievalError,
    Sent,
    SubOperations,
    Wanted,
)
from triage_agent.domain.sop_classes import DX_FOR_PRESENTATION
from triage_agent.domain.uids import is_uid

log = structlog.get_logger(__name__)

FIND: Context = (StudyRootQueryRetrieveInformationModelFind, ImplicitVRLittleEndian)
MOVE: Context = (StudyRootQueryRetrieveInformationModelMove, ImplicitVRLittleEndian)
GET: Context = (StudyRootQueryRetrieveInformationModelGet, ImplicitVRLittleEndian)
_NO_ROLES: list[SCP_SCU_RoleSelectionNegotiation] = []
_NOBODYS_STUDY = "2.25.1"  # a UUID that nobody draws
_MOST_MATCHES = 20_000  # of one question; an archive that has more to say was asked the wrong one
_COUNTS = {
    "remaining": "NumberOfRemainingSuboperations",
    "completed": "NumberOfCompletedSuboperations",
    "failed": "NumberOfFailedSuboperations",
    "warning": "NumberOfWarningSuboperations",
}


class RetrievalClient:
    """One PACS to fetch from: the port `Archive`. Safe to call from many threads; each call has an association.

    Args:
        way: how images come: "move" (C-MOVE to our own AE title, to the listener) or "get" (on the association).
        keeper: what keeps images that come by C-GET; whoever only asks needs none.
        listening_at: where the PACS finds our listener, for people.
        answer_seconds: for an association, and between two answers to a C-FIND.
        request_seconds: for one C-FIND, C-MOVE or C-GET from its beginning to its end.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        way: Literal["move", "get"],
        keeper: Keeper | None,
        listening_at: str = "",
        connect_seconds: float = 10.0,
        answer_seconds: float = 30.0,
        request_seconds: float = 600.0,
    ) -> None:
        self.peer = peer
        self._way = way
        self._keeper = keeper
        self._ae_title = calling_ae_title
        self._listening_at = listening_at
        self._answer_seconds = answer_seconds
        self._request_seconds = request_seconds
        self._caller = Caller(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=answer_seconds,
        )
        self._closed = False

    # --- questions ---------------------------------------------------------------------------------------------------
    def study(self, study_instance_uid: str) -> RemoteStudy | None:
        """See `Archive.study`."""
        found = self._studies(StudyInstanceUID=study_instance_uid)
        return next((one for one in found if one.study_instance_uid == study_instance_uid), None)

    def studies_of_order(self, accession_number: str) -> list[RemoteStudy]:
        """The studies with an accession number, and no others that the PACS takes to match.

        Raises:
            RetrievalError: it did not answer, or not with success.
        """
        found = self._studies(StudyInstanceUID="", AccessionNumber=accession_number)
        return [one for one in found if one.accession_number == accession_number.strip()]

    def instances(self, study_instance_uid: str) -> list[RemoteInstance]:
        """See `Archive.instances`: hierarchical queries, series by series (PS3.4 section C.4.1.3.1)."""
        found = []
        with self._association([FIND]) as association:
            study = _of(study_instance_uid)
            series = self._find(association, "SERIES", {**study, "SeriesInstanceUID": ""})
            for uid in _uids(series, "SeriesInstanceUID"):
                keys = {**study, "SeriesInstanceUID": uid, "SOPInstanceUID": "", "SOPClassUID": ""}
                try:
                    matches = self._find(association, "IMAGE", keys)
                except RetrievalError as error:
                    if not association.is_established:
                        raise
                    log.info("instances_not_listed", peer=self.peer.name, error=error.message)
                    return []
                found += [
                    RemoteInstance(
                        series_instance_uid=uid, sop_instance_uid=instance, sop_class_uid=_text(match, "SOPClassUID")
                    )
                    for match in matches
                    if is_uid(instance := _text(match, "SOPInstanceUID"))
                ]
        return found

    def _studies(self, **keys: str) -> list[RemoteStudy]:
        with self._association([FIND]) as association:
            asked = {"AccessionNumber": "", "NumberOfStudyRelatedInstances": "", **keys}
            matches = self._find(association, "STUDY", asked)
        return [
            RemoteStudy(
                study_instance_uid=uid,
                accession_number=_text(match, "AccessionNumber"),
                instances=_number(match, "NumberOfStudyRelatedInstances"),
            )
            for match in matches
            if is_uid(uid := _text(match, "StudyInstanceUID"))
        ]

    def _find(self, association: Association, level: str, keys: dict[str, str]) -> list[Dataset]:
        """The matches of one question.

        Raises:
            RetrievalError: it did not answer, not with success, or without end.
        """
        deadline = time.monotonic() + self._request_seconds
        matches: list[Dataset] = []
        with quiet():
            for status, match in association.send_c_find(_identifier(level, keys), FIND[0]):
                code = status.get("Status")
                if code == SUCCESS:
                    return matches
                if code not in PENDING:
                    raise RetrievalError(f"{self._caller}: C-FIND answered {_name(code)}", permanent=False)
                if match is not None:
                    matches.append(match)
                if len(matches) > _MOST_MATCHES or time.monotonic() > deadline:
                    break
        association.abort()
        raise RetrievalError(f"{self._caller}: C-FIND has no end", permanent=False)

    # --- images ------------------------------------------------------------------------------------------------------
    def retrieve(self, wanted: Sequence[Wanted], sop_classes: Collection[str]) -> Sent:
        """See `Archive.retrieve`."""
        if self._way == "move":
            with self._association([MOVE]) as association:
                return self._requests(association, wanted)
        if self._keeper is None:
            raise RetrievalError("nothing is kept by whoever only asks", permanent=True)
        storage, roles = contexts_to_keep(sop_classes)
        longest = self._request_seconds * len(wanted) + self._answer_seconds
        server = SubOperationsServer(self._keeper, self.peer.ae_title, longest)
        with (
            self._association([GET, *storage], roles, server.handlers) as association,
            server.attached(association),
        ):
            return self._requests(association, wanted)

    def _requests(self, association: Association, wanted: Sequence[Wanted]) -> Sent:
        """Ask for one thing after the other, until one of them shows that no other can come."""
        operations, error = SubOperations(), None
        for number, one in enumerate(wanted, 1):
            counted, failure = self._request(association, one, number)
            operations += counted
            error = failure or error
            if not association.is_established or (failure is not None and failure.permanent):
                break
        return Sent(operations=operations, error=error)

    def _request(
        self, association: Association, wanted: Wanted, message_id: int
    ) -> tuple[SubOperations, RetrievalError | None]:
        """Ask for one thing and follow the answers to the last one."""
        name = f"{self._caller}: C-{self._way.upper()}"
        operations = SubOperations()
        deadline = time.monotonic() + self._request_seconds
        association.dimse_timeout = self._request_seconds  # between two answers, of which all but the last are optional
        try:
            answers = self._ask(association, wanted, message_id)
            for status, _failed in answers:
                operations = _counted(status, operations)
                code = status.get("Status")
                is_late = time.monotonic() >= deadline
                if code is None and operations != SubOperations() and is_late:
                    break  # it answered, and went on for ever: the wait for one more answer is what ran out
                if code not in PENDING:
                    return operations, judge_retrieve(name, code, operations, self._remedy)
                association.dimse_timeout = max(0.1, deadline - time.monotonic())
                if is_late:
                    break
        except RetrievalError as error:
            return operations, error
        except RuntimeError:  # pynetdicom's, where nothing can be sent
            return operations, RetrievalError("the PACS ended the association", permanent=False)
        except ValueError:  # no context for it
            return operations, RetrievalError(f"{name} is not accepted", permanent=True)
        with suppress(RuntimeError, ValueError):
            association.send_c_cancel(message_id, query_model=self._model)
        association.abort()
        return operations, RetrievalError(f"{name} did not end in {self._request_seconds:g} s", permanent=False)

    def _ask(
        self, association: Association, wanted: Wanted, message_id: int
    ) -> Iterator[tuple[Dataset, Dataset | None]]:
        identifier = _wanted(wanted)
        if self._way == "get":
            return association.send_c_get(identifier, self._model, msg_id=message_id)
        return association.send_c_move(identifier, self._ae_title, self._model, msg_id=message_id)

    @property
    def _model(self) -> str:
        return GET[0] if self._way == "get" else MOVE[0]

    @property
    def _remedy(self) -> str:
        where = f" at {self._listening_at}" if self._listening_at else ""
        return f"make our AE title {self._ae_title}{where} known to the PACS as a move destination"

    # --- the peer ----------------------------------------------------------------------------------------------------
    def check(self) -> str:
        """Whether studies can be fetched: the PACS takes what we ask with, and knows us as a destination.

        It is asked for a study that nobody has, so nothing is sent.

        Raises:
            RetrievalError: it cannot be reached, takes no such question, or does not know us.
        """
        way, roles = f"C-{self._way.upper()}", _NO_ROLES
        storage: list[Context] = []
        needed = {"C-FIND": FIND, way: GET if self._way == "get" else MOVE}
        if self._way == "get":
            storage, roles = contexts_to_keep([DX_FOR_PRESENTATION])
        with self._association([*needed.values(), *storage], roles) as association:
            accepted = accepted_contexts(association)
            lacking = [name for name, context in needed.items() if context not in accepted]
            if storage and not any(context.as_scp for context in association.accepted_contexts):
                lacking.append("our role as SCP of storage")
            if lacking:
                raise RetrievalError(
                    f"{self._caller} does not take {' and '.join(lacking)}",
                    permanent=True,
                    remedy=f"the PACS must allow it for our AE title {self._ae_title}",
                )
            _, failure = self._request(association, Wanted(study_instance_uid=_NOBODYS_STUDY), 1)
        if failure is not None and f"0x{MOVE_DESTINATION_UNKNOWN:04X}" in failure.message:
            raise failure
        reminder = f"; {self._remedy}" if self._way == "move" else ""
        return f"{self._caller} takes C-FIND and {way}{reminder}"

    def close(self) -> None:
        """Hang up, whatever is in flight; what is asked afterwards fails."""
        self._closed = True
        self._caller.cut()

    @contextmanager
    def _association(
        self,
        contexts: Sequence[Context],
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
        handlers: Sequence[EventHandlerType] = (),
    ) -> Iterator[Association]:
        """An association for one purpose, ended afterwards.

        Raises:
            RetrievalError: there is none, or it ended before something could be sent.
        """
        if self._closed:
            raise RetrievalError(f"{self._caller}: we have hung up", permanent=False)
        try:
            with self._caller.associated(contexts, roles=roles, handlers=handlers) as association:
                yield association
        except DeliveryError as error:
            refused = f"the PACS must allow C-FIND and C-{self._way.upper()} from our AE title {self._ae_title}"
            remedy = refused if error.permanent else error.remedy
            raise RetrievalError(error.message, permanent=error.permanent, remedy=remedy) from error


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def _wanted(wanted: Wanted) -> Dataset:
    """The identifier of a C-MOVE or C-GET (PS3.4 section C.4.2.1.4.1)."""
    keys = _of(wanted.study_instance_uid)
    if not wanted.series_instance_uid:
        return _identifier("STUDY", keys)
    keys["SeriesInstanceUID"] = wanted.series_instance_uid
    if not wanted.sop_instance_uids:
        return _identifier("SERIES", keys)
    identifier = _identifier("IMAGE", keys)
    identifier.SOPInstanceUID = list(wanted.sop_instance_uids)
    return identifier


def _of(study_instance_uid: str) -> dict[str, str]:
    return {"StudyInstanceUID": study_instance_uid}


def _uids(matches: Sequence[Dataset], keyword: str) -> list[str]:
    """The UIDs of matches, each once, in their order."""
    return list(dict.fromkeys(uid for match in matches if is_uid(uid := _text(match, keyword))))


def _text(match: Dataset, keyword: str) -> str:
    with quiet():
        return str(match.get(keyword) or "").strip()


def _number(match: Dataset, keyword: str) -> int | None:
    """A count that a PACS states; None where it states none, or nonsense."""
    text = _text(match, keyword)
    return int(text) if text.isdecimal() else None


def _counted(status: Dataset, before: SubOperations) -> SubOperations:
    """The counts of an answer, the earlier ones where it has none (PS3.7 section 9.1.4.1)."""
    counts = {name: status.get(keyword) for name, keyword in _COUNTS.items()}
    if all(count is None for count in counts.values()):
        return before
    return SubOperations(**{name: int(count or 0) for name, count in counts.items()})


def _name(status: int | None) -> str:
    return "nothing" if status is None else f"0x{status:04X}"
