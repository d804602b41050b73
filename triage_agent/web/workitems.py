"""UPS-RS: workitems over HTTP (PS3.18 section 11), by the rules of the desk that serves them over DIMSE.

A token with `query` looks at workitems and has itself told; one with `ups` posts, claims, changes and cancels, too.
"""

import json
import traceback
from collections.abc import Callable, Collection, Mapping
from itertools import islice

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from starlette.requests import ClientDisconnect

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.workitem import FILTERED, Verdict
from triage_agent.matching.query import read_query
from triage_agent.steps.data import text_of
from triage_agent.steps.desk import NO_SUCH_WORKITEM, Caller, Desk, Reply
from triage_agent.steps.dicom_json import LONGEST, read_data_set, write_data_set
from triage_agent.web.access import Access, address_of
from triage_agent.web.step_requests import (
    JSON,
    PREFIX,
    TRANSACTION_NAMES,
    UID_NAMES,
    channel_url,
    filter_keys,
    number_in_query,
    own_uid,
    require_json,
    search_keys,
    service_url,
    uid_in_query,
)
from triage_agent.web.step_statuses import Transaction, http_status, warning
from triage_agent.web.stow import Pace, SlowError, pieces

log = structlog.get_logger(__name__)

_AT_ONCE = 8  # requests; what comes while so many run and as many wait is told to come again
_WAITING = 64
_AGAIN = {"Retry-After": "5"}
_PAGE, _LARGEST_PAGE, _FURTHEST = 100, 1000, 100_000


class WorkitemService:
    """The service.

    Args:
        listeners: the AE titles that are told on an event channel.
        answered: told transaction and status of every response.
        asked: told who searches or reads, and from where, before anything is shown.
    """

    def __init__(
        self,
        access: Access,
        desk: Desk,
        pace: Pace,
        *,
        listeners: Collection[str],
        answered: Callable[[str, int], None] = lambda _transaction, _status: None,
        asked: Callable[[str, str], None] = lambda _caller, _address: None,
    ) -> None:
        self.router = APIRouter(prefix=PREFIX + "/workitems")
        self._access = access
        self._desk = desk
        self._pace = pace
        self._listeners = frozenset(listeners)
        self._answered = answered
        self._asked = asked
        self._running = 0
        self._threads: anyio.CapacityLimiter | None = None  # not the pool that answers probes
        self._mount()

    def _mount(self) -> None:
        router, one = self.router, "/{workitem}"
        router.post("")(self.create)
        router.get("")(self.search)
        router.get(one)(self.retrieve)
        router.post(one)(self.update)
        for requester in ("", "/{requester}"):  # as dcm4chee has it; whoever holds the token is who asks
            router.put(one + "/state" + requester)(self.change_state)
            router.post(one + "/cancelrequest" + requester)(self.request_cancel)
        router.post(one + "/subscribers/{receiver}")(self.subscribe)
        router.delete(one + "/subscribers/{receiver}")(self.unsubscribe)
        router.post(one + "/subscribers/{receiver}/suspend")(self.suspend)

    async def create(self, request: Request) -> Response:
        """Section 11.4."""
        caller = self._caller(request, "ups")
        given = await self._data_set(request)

        def work() -> Response:
            uid = uid_in_query(request, UID_NAMES) or own_uid(given) or str(generate_uid(prefix=None))
            reply = self._desk.create(uid, given, caller)
            made = {"Location": f"{service_url(request)}/{uid}"} if reply.status == Verdict.DONE else {}
            return self._reply(request, Transaction.CREATE, reply, headers=made)

        return await self._answer(Transaction.CREATE, work)

    async def retrieve(self, request: Request, workitem: str) -> Response:
        """Section 11.5."""
        caller = self._caller(request, "query")
        require_json(request)

        def work() -> Response:
            self._asked(caller.name, address_of(request))
            shown = self._desk.get(workitem)
            if shown is None:
                return self._reply(request, Transaction.RETRIEVE, NO_SUCH_WORKITEM)
            return Response(json.dumps(write_data_set(shown)), media_type=JSON)

        return await self._answer(Transaction.RETRIEVE, work)

    async def update(self, request: Request, workitem: str) -> Response:
        """Section 11.6."""
        caller = self._caller(request, "ups")
        given = await self._data_set(request)

        def work() -> Response:
            transaction = uid_in_query(request, TRANSACTION_NAMES) or text_of(given, "TransactionUID")
            reply = self._desk.update(workitem, given, caller, transaction)
            return self._reply(request, Transaction.UPDATE, reply, transaction_uid=transaction)

        return await self._answer(Transaction.UPDATE, work)

    async def change_state(self, request: Request, workitem: str) -> Response:
        """Section 11.7."""
        caller = self._caller(request, "ups")
        given = await self._data_set(request)

        def work() -> Response:
            reply = self._desk.change_state(workitem, given, caller)
            return self._reply(
                request, Transaction.CHANGE_STATE, reply, transaction_uid=text_of(given, "TransactionUID")
            )

        return await self._answer(Transaction.CHANGE_STATE, work)

    async def request_cancel(self, request: Request, workitem: str) -> Response:
        """Section 11.8; the reason may be left out."""
        caller = self._caller(request, "ups")
        given = await self._data_set(request, optional=True)
        return await self._answer(
            Transaction.REQUEST_CANCEL,
            lambda: self._reply(
                request, Transaction.REQUEST_CANCEL, self._desk.request_cancel(workitem, given, caller)
            ),
        )

    async def search(self, request: Request) -> Response:
        """Section 11.9: whole workitems, best first; 206 where there are more than are given."""
        caller = self._caller(request, "query")
        require_json(request)
        return await self._answer(Transaction.SEARCH, lambda: self._search(request, caller))

    def _search(self, request: Request, caller: Caller) -> Response:
        self._asked(caller.name, address_of(request))
        offset = number_in_query(request, "offset", 0, _FURTHEST)
        limit = min(number_in_query(request, "limit", _PAGE, _FURTHEST), _LARGEST_PAGE)
        found = list(islice(self._desk.find(read_query(search_keys(request), None)), offset, offset + limit + 1))
        whole = [self._desk.get(str(one.SOPInstanceUID)) for one in found[:limit]]
        page = [write_data_set(one) for one in whole if one is not None]
        headers = {}
        if request.query_params.get("fuzzymatching") == "true":
            said = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
            headers["Warning"] = f"299 {service_url(request)}: {said}"
        if not page:
            return Response(status_code=204, headers=headers)
        return Response(
            json.dumps(page), status_code=206 if len(found) > limit else 200, media_type=JSON, headers=headers
        )

    async def subscribe(self, request: Request, workitem: str, receiver: str) -> Response:
        """Section 11.10; events are sent to whoever listens where Content-Location says."""
        caller = self._caller(request, "query")

        def work() -> Response:
            information = filter_keys(request) if workitem == FILTERED else Dataset()
            information.DeletionLock = "TRUE" if request.query_params.get("deletionlock") == "true" else "FALSE"
            reply = self._desk.subscribe(workitem, receiver, information, caller)
            listens = reply.status == Verdict.DONE and receiver in self._listeners
            made = {"Content-Location": channel_url(request, receiver)} if listens else {}
            return self._reply(request, Transaction.SUBSCRIBE, reply, headers=made)

        return await self._answer(Transaction.SUBSCRIBE, work)

    async def unsubscribe(self, request: Request, workitem: str, receiver: str) -> Response:
        """Section 11.11."""
        caller = self._caller(request, "query")
        return await self._answer(
            Transaction.UNSUBSCRIBE,
            lambda: self._reply(request, Transaction.UNSUBSCRIBE, self._desk.unsubscribe(workitem, receiver, caller)),
        )

    async def suspend(self, request: Request, workitem: str, receiver: str) -> Response:
        """Section 11.12."""
        caller = self._caller(request, "query")
        return await self._answer(
            Transaction.SUSPEND,
            lambda: self._reply(request, Transaction.SUSPEND, self._desk.suspend(workitem, receiver, caller)),
        )

    def _caller(self, request: Request, right: str) -> Caller:
        known = self._access.known(request, *dict.fromkeys((right, "ups")))
        return Caller(name=known.name, reads=True, changes="ups" in known.may)

    async def _data_set(self, request: Request, *, optional: bool = False) -> Dataset:
        """The data set of the body.

        Raises:
            HTTPException: it is too long or too slow, or of another media type.
        """
        body = bytearray()
        try:
            async for piece in pieces(request, self._pace):
                body += piece
                if len(body) > LONGEST:
                    raise HTTPException(413, f"a workitem has {LONGEST} bytes at most", {"Connection": "close"})
        except SlowError:
            raise HTTPException(408, "the body comes too slowly", {"Connection": "close"}) from None
        except ClientDisconnect:
            raise HTTPException(400, "the body is not whole") from None
        if optional and not body:
            return Dataset()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in {JSON, "application/json"}:
            raise HTTPException(415, f"send {JSON}")
        try:
            return read_data_set(bytes(body))
        except InvalidDatasetError as error:
            raise HTTPException(400, error.message) from None

    async def _answer(self, transaction: Transaction, work: Callable[[], Response]) -> Response:
        """What `work` answers, done in a thread; or what was wrong."""
        if self._running >= _AT_ONCE + _WAITING:
            raise HTTPException(503, "too many requests are running", _AGAIN)
        limiter = self._threads = self._threads or anyio.CapacityLimiter(_AT_ONCE)
        self._running += 1
        try:
            response = await anyio.to_thread.run_sync(work, limiter=limiter)
        except InvalidDatasetError as error:
            response = _refused(400, error.message)
        except StorageExhaustedError as error:
            response = _refused(413, error.message)
        except WorklistUnavailableError:
            response = _refused(503, "the worklist is away", _AGAIN)
        except Exception as error:  # noqa: BLE001 - its message may quote what a patient is called
            _told(transaction, error)
            response = _refused(500, f"internal error ({type(error).__name__})")
        finally:
            self._running -= 1
        self._answered(transaction.value, response.status_code)
        return response

    @staticmethod
    def _reply(
        request: Request,
        transaction: Transaction,
        reply: Reply,
        *,
        headers: Mapping[str, str] | None = None,
        transaction_uid: str = "",
    ) -> Response:
        said = warning(transaction, reply, has_transaction_uid=bool(transaction_uid))
        warned = {"Warning": f"299 {service_url(request)}: {said}"} if said else {}
        return Response(status_code=http_status(transaction, reply), headers={**(headers or {}), **warned})


def _told(transaction: Transaction, error: Exception) -> None:
    frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
    log.error("ups_rs_failed", transaction=transaction.value, error=type(error).__name__, frames=frames)


def _refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps({"detail": why}), status, headers=dict(headers or {}), media_type="application/json")
