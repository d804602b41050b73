"""STOW-RS: instances come in over HTTP (PS3.18 section 10.5), by the same way and as durable as over DIMSE."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import anyio.to_thread
import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from triage_agent.domain.uids import is_uid
from triage_agent.web.access import Access
from triage_agent.web.storing import OUT_OF_RESOURCES, BadRequestError, Door, Kept, StoreSession

log = structlog.get_logger(__name__)

_JSON = "application/dicom+json"
_AT_ONCE = 20  # requests; each writes to the disk in a thread of its own
_AGAIN_SECONDS = "10"
_IS_NOT_HERE = HTTPException(503, "nothing can be stored here now", {"Retry-After": _AGAIN_SECONDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow a sender may be: silent for `seconds`; slower than `slowest` bytes a second once those have passed."""

    seconds: float = 30.0
    slowest: float = 4000.0


class SlowError(Exception):
    """The sender is too slow."""


class Stow:
    """The service; it refuses until there is a door, that is while the agent starts and when it ends."""

    def __init__(self, access: Access, pace: Pace) -> None:
        self.router = APIRouter(prefix="/dicom-web")
        self.router.post("/studies")(self._any_study)
        self.router.post("/studies/{study}")(self._one_study)
        self._access = access
        self._pace = pace
        self._door: Door | None = None
        self._running = 0
        self._threads: anyio.CapacityLimiter | None = None  # not the pool that answers probes

    def open(self, door: Door) -> Callable[[], None]:
        """Take instances from now on, until what is returned is called; what is being stored then is still answered."""
        self._door = door

        def close() -> None:
            self._door = None

        return close

    async def _any_study(self, request: Request) -> Response:
        return await self._store(request, "")

    async def _one_study(self, request: Request, study: str) -> Response:
        if not is_uid(study):
            raise HTTPException(400, "the study of the path is no UID")
        return await self._store(request, study)

    async def _store(self, request: Request, study: str) -> Response:
        source = self._access.admit(request, "store")
        boundary = _boundary(request.headers.get("content-type", ""))
        if self._door is None or self._running >= _AT_ONCE:
            raise _IS_NOT_HERE
        self._running += 1
        try:
            return await self._take(
                request, StoreSession(self._door, boundary, source=source, study_instance_uid=study)
            )
        except BadRequestError as error:
            log.warning("stow_refused", caller=source, why=str(error))
            raise HTTPException(400, str(error)) from None
        finally:
            self._running -= 1

    async def _take(self, request: Request, session: StoreSession) -> Response:
        limiter = self._threads = self._threads or anyio.CapacityLimiter(_AT_ONCE)
        try:
            async for piece in pieces(request, self._pace):
                await anyio.to_thread.run_sync(session.feed, piece, limiter=limiter)
            session.finish()
        except SlowError:
            raise HTTPException(408, "the body comes too slowly", {"Connection": "close"}) from None
        except ClientDisconnect:
            log.warning("stow_cut", stored=len(session.kept))
            raise HTTPException(400, "the body is not whole") from None
        finally:
            # Also where this task is cancelled: no file of what did not come whole stays behind.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(session.close, limiter=limiter)
        if not session.kept:
            raise HTTPException(400, "the request holds no instance")
        return answer(session.kept)


async def pieces(request: Request, pace: Pace) -> AsyncIterator[bytes]:
    """The body as it comes. The time that we take ourselves, between two pieces, does not count.

    Raises:
        SlowError: it does not.
    """
    stream, waited, size = request.stream(), 0.0, 0
    while True:
        began = time.monotonic()
        try:
            piece = await asyncio.wait_for(anext(stream), pace.seconds)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise SlowError from None
        waited += time.monotonic() - began
        size += len(piece)
        if pace.slowest and waited > pace.seconds + size / pace.slowest:
            raise SlowError
        if piece:
            yield piece


def answer(kept: Sequence[Kept]) -> Response:
    """The Store Instances Response (PS3.18 section I.2) in DICOM JSON."""
    failed = [one for one in kept if one.reason is not None]
    said: dict[str, Any] = {}
    for tag, some in (
        ("00081199", [_item(one) for one in kept if one.reason is None]),  # Referenced SOP Sequence
        ("00081198", [_item(one) for one in failed if one.sop_instance_uid]),  # Failed SOP Sequence
        ("0008119A", [_item(one) for one in failed if not one.sop_instance_uid]),  # Other Failures Sequence
    ):
        if some:
            said[tag] = {"vr": "SQ", "Value": some}
    headers = {}
    if not failed:
        status = 200
    elif len(failed) < len(kept):
        status = 202
    elif all(one.reason == OUT_OF_RESOURCES for one in failed):
        status, headers = 503, {"Retry-After": _AGAIN_SECONDS}  # none of them, and all for want of room or database
    else:
        status = 409
    return Response(json.dumps(said), status_code=status, media_type=_JSON, headers=headers)


def _item(one: Kept) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for tag, uid in (("00081150", one.sop_class_uid), ("00081155", one.sop_instance_uid)):
        if uid:
            item[tag] = {"vr": "UI", "Value": [uid]}
    for tag, reason in (("00081197", one.reason), ("00081196", one.warning)):
        if reason is not None:
            item[tag] = {"vr": "US", "Value": [reason]}
    return item


def _boundary(content_type: str) -> bytes:
    """The boundary of a multipart/related body of DICOM files.

    Raises:
        HTTPException: 415 where it is something else, 400 without a boundary.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = str(header.get_param("type", "application/dicom")).lower()
    if header.get_content_type() != "multipart/related" or kind != "application/dicom":
        raise HTTPException(415, 'send multipart/related; type="application/dicom"')
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or not boundary.isascii():
        raise HTTPException(400, "the boundary is missing")
    return boundary.encode()
