"""Wires notices from the settings: the channels, the loops that tell them, and the one that watches routes."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from random import SystemRandom

import structlog

from triage_agent import __version__
from triage_agent.builders import build_retry
from triage_agent.delivery.endpoint import Endpoint, HttpAccess
from triage_agent.delivery.mail import Mailer, MailServer
from triage_agent.delivery.notice_text import Wording
from triage_agent.delivery.notifying import Notifier, Outlet, RouteWatch
from triage_agent.delivery.outlets import MailOutlet, WebhookOutlet
from triage_agent.delivery.webhook import Webhook
from triage_agent.domain.notice import Message, Notice, NoticeKind
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.ops.metrics import Metrics
from triage_agent.sections.notify import EmailSettings, WebhookSettings
from triage_agent.settings import Settings
from triage_agent.worker import Loop, Loops
from triage_agent.worklist.notices import SqlNotices, notices_of

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0  # between two looks for something to tell
_ROUTES_SECONDS = 10.0  # between two looks at whether routes fail


def build_outlets(settings: Settings) -> dict[str, Outlet]:
    """The ways to people, by their channels' names."""
    return {channel.name: _outlet(settings, channel) for channel in settings.notify.channels}


def _outlet(settings: Settings, channel: EmailSettings | WebhookSettings) -> Outlet:
    place = f" at {settings.institution}" if settings.institution else ""
    wording = Wording(
        include=frozenset(channel.include),
        link=channel.link,
        zone=settings.notify.zone,
        agent=f"{settings.dicom.ae_title}{place}",
        prefix=channel.subject_prefix if isinstance(channel, EmailSettings) else "",
    )
    if isinstance(channel, EmailSettings):
        return MailOutlet(_mailer(channel), wording, channel.timeout_seconds)
    return _webhook(channel, wording)


def _mailer(channel: EmailSettings) -> Mailer:
    server = MailServer(
        host=channel.host,
        port=channel.port_number,
        security=channel.security,
        user=channel.user,
        password=channel.password,
        ca=channel.ca,
        seconds=channel.timeout_seconds,
    )
    return Mailer(server, channel.sender, channel.to)


def _webhook(channel: WebhookSettings, wording: Wording) -> WebhookOutlet:
    place = channel.place()
    endpoint = Endpoint(
        name=channel.name,
        host=place.host,
        port=place.port,
        connect_seconds=min(10.0, channel.timeout_seconds),
        answer_seconds=channel.timeout_seconds,
        http=HttpAccess(
            secure=place.secure, authorization=f"Bearer {channel.token}" if channel.token else "", ca=channel.ca
        ),
    )
    webhook = Webhook(endpoint, place.target, channel.secret)
    return WebhookOutlet(webhook, wording, endpoint.connect_seconds + endpoint.answer_seconds, __version__)


def send_test(outlet: Outlet, channel: str, now: datetime) -> None:
    """Send a test notice straight away, past queue, quiet hours and bounds.

    Raises:
        DeliveryError: it was not taken.
    """
    notice = Notice(kind=NoticeKind.TEST, at=now)
    uid = str(uuid.uuid4())
    outlet.send(Message(channel=channel, number=0, uid=uid, attempt=1, count=1, since=now, notices=(notice,)), now)


def add_notifiers(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock, loops: Loops, ends: ExitStack
) -> None:
    """Tell people from now on: a loop a channel, so that one that is away holds up no other, and one for the routes.

    Without a channel nothing is told, and what a channel that was there before still waits for is dead.
    """
    if (notices := notices_of(worklist)) is None:
        return
    if not settings.notify.channels and not notices.records():
        return
    rules = [channel.rules(settings.notify.zone) for channel in settings.notify.channels]
    destinations = sorted({route.to for route in settings.routes})
    if dead := notices.configure(rules, destinations, clock()):
        log.warning("notices_without_a_channel", dead=dead)
    for loop, close in _loops(settings, notices, metrics, clock):
        ends.callback(close)
        loops.add(loop)
    watch = RouteWatch(
        notices=notices, channels=rules, destinations=destinations, trouble_at=worklist.trouble_at, clock=clock
    )
    if rules:
        loops.add(Loop("notify-routes", watch.step, idle_seconds=_ROUTES_SECONDS))


def _loops(
    settings: Settings, notices: SqlNotices, metrics: Metrics, clock: Clock
) -> Iterator[tuple[Loop, Callable[[], None]]]:
    outlets = build_outlets(settings)
    for channel in settings.notify.channels:
        outlet = outlets[channel.name]
        notifier = Notifier(
            notices=notices,
            rules=channel.rules(settings.notify.zone),
            outlet=outlet,
            clock=clock,
            rng=SystemRandom(),
            retry=build_retry(settings),
            observed=_counting(metrics, channel.name),
        )
        yield Loop(f"notify-{channel.name}", notifier.step, idle_seconds=_LOOK_SECONDS), outlet.close


def _counting(metrics: Metrics, channel: str) -> Callable[[str], None]:
    return lambda outcome: metrics.notices.labels(channel, outcome).inc()
