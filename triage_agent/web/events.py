"""The channel on which subscribers are told of workitems over HTTP: WebSocket (PS3.18 sections 8.10.4 and 11.13).

What is to be told stands in the database until it has been written to a subscriber's connection; while nobody listens
it waits. One report is on its way to a subscriber at a time, so that nothing piles up here.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, HTTPException, WebSocket
from starlette.websockets import WebSocketDisconnect

from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock
from triage_agent.domain.workitem import StepReport, Workitems
from triage_agent.steps.data import EVENT
from triage_agent.steps.dicom_json import event_report
from triage_agent.web.access import Access

log = structlog.get_logger(__name__)

PATH = "/ws/subscribers"

_MOST = 100  # connections
_MOST_OF_ONE = 4  # ... of one subscriber: who comes again before its old one is seen to be gone
_SEND_SECONDS = 2.0  # who does not take one report in this time is cut off, and told when it is back
_AT_ONCE = 50  # reports of one turn, and workitems looked at for changes
_HELD_SECONDS = 60.0  # nobody else tells that subscriber meanwhile
_SWEEP_SECONDS = 60.0
_WRAPS = 0xFFFF  # a message's number is a US
_AGAIN = {"Retry-After": "30"}


class Channel:
    """One subscriber's connection."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._sent = 0

    def send(self, report: StepReport) -> None:
        """From another thread; returns when the report is written.

        Raises:
            DeliveryError: it could not be, and the connection is of no use any more.
        """
        self._sent = self._sent % _WRAPS + 1
        said = event_report(report.workitem_uid, str(EVENT), int(report.type), self._sent, report.information)
        sending = self._socket.send_text(json.dumps(said))
        try:
            waiting = asyncio.run_coroutine_threadsafe(sending, self._loop)
        except RuntimeError:  # the server has ended
            sending.close()
            raise DeliveryError("the event channel has ended", permanent=False, away=True) from None
        try:
            waiting.result(_SEND_SECONDS)
        except (FutureTimeoutError, WebSocketDisconnect, RuntimeError, OSError) as error:
            waiting.cancel()
            raise DeliveryError(
                f"the event channel takes nothing ({type(error).__name__})", permanent=False, away=True
            ) from error

    def end(self) -> None:
        """Hang up, from another thread, without waiting."""
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop)

    async def _close(self) -> None:
        with contextlib.suppress(Exception):  # it has gone already
            await self._socket.close(1013)


class EventChannels:
    """Opens and keeps the connections; who may listen is known before one is opened.

    Args:
        subscribers: the names that are told here; whoever else subscribes is told over DIMSE.
    """

    def __init__(self, access: Access, subscribers: Collection[str]) -> None:
        self.router = APIRouter()
        self.subscribers = frozenset(subscribers)
        self._access = access
        self._open: dict[str, list[Channel]] = {}
        for path in (PATH, "/dicom-web/subscribers"):
            self.router.websocket(path + "/{receiver}")(self.listen)

    @property
    def listening(self) -> frozenset[str]:
        """Who has a connection now."""
        return frozenset(self._open)

    def tell(self, report: StepReport) -> None:
        """Send a report to each connection of its subscriber; returns when one has it.

        Raises:
            DeliveryError: none has.
        """
        failed = DeliveryError("no event channel is open", permanent=False, away=True)
        told = False
        for channel in list(self._open.get(report.subscriber, ())):
            try:
                channel.send(report)
                told = True
            except DeliveryError as error:
                failed = error
                self._forget(report.subscriber, channel)
                channel.end()
        if not told:
            raise failed

    async def listen(self, socket: WebSocket, receiver: str) -> None:
        """Open a channel, and keep it until the other side goes; what it says is not listened to."""
        self._admit(socket, receiver)
        await socket.accept()
        channel = Channel(socket)
        self._open.setdefault(receiver, []).append(channel)
        log.info("event_channel_opened", subscriber=receiver)
        try:
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._forget(receiver, channel)
            log.info("event_channel_closed", subscriber=receiver)

    def _admit(self, socket: WebSocket, receiver: str) -> None:
        """Refuse before the connection is upgraded.

        Raises:
            HTTPException: 401, 403 for who may not, 404 for a name that is not told here, 503 where there are too many.
        """
        caller = self._access.known(socket, "query", "ups")
        if not _is_same_origin(socket):
            raise HTTPException(403, "pages of another origin may not listen")
        if caller.name != receiver and "ups" not in caller.may:
            raise HTTPException(403, "this token may not listen for that AE")
        if receiver not in self.subscribers:
            raise HTTPException(404, "nobody is told under that AE title here")
        mine = self._open.get(receiver, [])
        if len(mine) >= _MOST_OF_ONE or sum(map(len, self._open.values())) >= _MOST:
            raise HTTPException(503, "too many event channels are open", _AGAIN)

    def _forget(self, receiver: str, channel: Channel) -> None:
        """A new list each time: another thread may be going through the old one."""
        left = [one for one in self._open.get(receiver, ()) if one is not channel]
        if left:
            self._open[receiver] = left
        else:
            self._open.pop(receiver, None)


def _is_same_origin(socket: WebSocket) -> bool:
    """Browsers say which page asks (RFC 6455 section 10.2); programs that are none say nothing."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == socket.headers.get("host", "").lower()


class EventAnnouncer:
    """The loop's step that tells whoever listens here.

    Args:
        keep: so long a report waits for a subscriber that does not listen.
        observed: told `told` or `retry`, once an attempt.
    """

    def __init__(
        self,
        workitems: Workitems,
        channels: EventChannels,
        *,
        clock: Clock,
        keep: timedelta,
        observed: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._workitems = workitems
        self._channels = channels
        self._clock = clock
        self._keep = keep
        self._observed = observed
        self._swept = clock() - timedelta(days=1)

    def step(self) -> bool:
        """Tell one subscriber what waits for it; False if there was nothing to do.

        Raises:
            WorklistUnavailableError: the database is away; what was told and could not be marked is told again.
        """
        self._sweep()
        if not (listening := self._channels.listening & self._channels.subscribers):
            return False
        changed = self._workitems.tell_changes(self._clock(), _AT_ONCE)
        now = self._clock()
        until = now + timedelta(seconds=_HELD_SECONDS)
        reports = self._workitems.claim_reports(now, until, (), _AT_ONCE, among=listening)
        for report in reports:
            if not self._told(report):
                break
        return bool(changed or reports)

    def _told(self, report: StepReport) -> bool:
        """Whether the next one may follow."""
        try:
            self._channels.tell(report)
        except DeliveryError as error:
            log.warning("workitem_report_failed", subscriber=report.subscriber, error=str(error))
            self._workitems.report_failed(report, str(error), self._clock())
            self._observed("retry")
            return False
        self._workitems.report_sent(report, self._clock())
        self._observed("told")
        return True

    def _sweep(self) -> None:
        now = self._clock()
        if abs(now - self._swept) < timedelta(seconds=_SWEEP_SECONDS):
            return
        self._swept = now
        silent = self._channels.subscribers - self._channels.listening
        if silent and (dropped := self._workitems.drop_reports(silent, now - self._keep, now)):
            log.info("workitem_reports_dropped", reports=dropped)
