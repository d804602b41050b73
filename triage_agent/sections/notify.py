"""The tables of who is told what by e-mail and webhook, and when not."""

import re
from datetime import time, timedelta
from email.headerregistry import Address
from pathlib import Path
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from triage_agent.delivery.notice_text import unknown_places
from triage_agent.domain.notice import ChannelRules, NoticeKind, QuietHours
from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.http import BEARER

Told = Literal["stat", "urgent", "needs_human", "route_failing"]
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_LONGEST_SECONDS = 60.0  # a message that takes longer is tried again
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class WebPlace(NamedTuple):
    """A url in its parts; the target is its path with its query."""

    host: str
    port: int
    target: str
    secure: bool


class ChannelSettings(Section):
    """What e-mail and webhooks have in common: who is told of what, and when not."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    on: tuple[Told, ...] = Field(min_length=1)
    quiet_hours: str = ""
    except_in_quiet_hours: tuple[Told, ...] = ()
    most_per_hour: int = Field(default=20, ge=1, le=1000)
    after_minutes: float = Field(default=10, gt=0, le=10080)
    include: tuple[Literal["study_uid", "accession_number", "anatomy", "finding"], ...] = ()
    link: str = Field(default="", max_length=1000)
    ca: Path | None = None
    timeout_seconds: float = Field(default=30, gt=0, le=_LONGEST_SECONDS)

    @field_validator("quiet_hours")
    @classmethod
    def _is_a_span(cls, hours: str) -> str:
        if hours and (not (found := _HOURS.fullmatch(hours)) or found.groups()[:2] == found.groups()[2:]):
            raise ValueError('must be a part of a day, such as "22:00-07:00"')
        return hours

    @field_validator("link")
    @classmethod
    def _can_be_filled_in(cls, link: str) -> str:
        try:
            unknown = unknown_places(link)
        except ValueError:
            raise ValueError("has a brace that is not closed; write {{ for a brace") from None
        if unknown or not link.isprintable() or " " in link:
            raise ValueError("must be a url with {study_uid} and {accession_number} at most in braces")
        return link

    @model_validator(mode="after")
    def _exceptions_fit(self) -> Self:
        for kind in self.except_in_quiet_hours:
            if kind not in self.on:
                raise ValueError(
                    f"except_in_quiet_hours has {kind!r}, which {self.name!r} is not told of; add it to on"
                )
        if self.except_in_quiet_hours and not self.quiet_hours:
            raise ValueError(f"{self.name!r} has except_in_quiet_hours and no quiet_hours; give both, or neither")
        return self

    def rules(self, zone: ZoneInfo) -> ChannelRules:
        """The same as a domain value."""
        return ChannelRules(
            name=self.name,
            kinds=frozenset(map(NoticeKind, self.on)),
            quiet=_span(self.quiet_hours, zone),
            excepted=frozenset(map(NoticeKind, self.except_in_quiet_hours)),
            most_per_hour=self.most_per_hour,
            after=timedelta(minutes=self.after_minutes),
        )


def _span(hours: str, zone: ZoneInfo) -> QuietHours | None:
    if not (found := _HOURS.fullmatch(hours)):
        return None
    first_hour, first_minute, last_hour, last_minute = map(int, found.groups())
    return QuietHours(time(first_hour, first_minute), time(last_hour, last_minute), zone)


class EmailSettings(ChannelSettings):
    """Mail to these people, handed in at a server of the site's."""

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    sender: str = Field(alias="from")
    to: tuple[str, ...] = Field(min_length=1, max_length=50)
    subject_prefix: str = Field(default="[triage]", max_length=60)

    @field_validator("sender", "to")
    @classmethod
    def _are_addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (given,) if isinstance(given, str) else given:
            if not _is_address(one):
                raise ValueError("must be plain e-mail addresses, such as admin@hospital.example")
        return given

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        """Of the table as a whole, so that no message repeats a secret."""
        if not self.subject_prefix.isprintable():
            raise ValueError(f"the subject_prefix of {self.name!r} has control characters")
        if bool(self.user) != bool(self.password):
            raise ValueError(f"give {self.name!r} both user and password, or neither")
        if self.user and self.security == "none":
            raise ValueError(f"{self.name!r} would send its password unencrypted; set security, or leave user out")
        if not (self.user + self.password).isascii():
            raise ValueError(f"user and password of {self.name!r} can have ASCII characters only")
        return self

    @property
    def port_number(self) -> int:
        """Where mail is handed in: the port that is usual for the security, unless the site says."""
        return self.port or _PORTS[self.security]


class WebhookSettings(ChannelSettings):
    """A JSON document to this url."""

    url: str = Field(min_length=1, max_length=2000)
    token: str = ""
    secret: str = ""

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        """Of the table as a whole, so that no message repeats a secret."""
        if not _is_usable(self.url):
            raise ValueError(
                f"the url of {self.name!r} is not https://host[:port]/path[?query] (http only on this machine), "
                "without user and fragment"
            )
        if self.token and not BEARER.fullmatch(self.token):
            raise ValueError(f"the token of {self.name!r} has characters that no bearer token has (RFC 6750)")
        return self

    def place(self) -> WebPlace:
        """Where that is."""
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return WebPlace(url.hostname or "", url.port or (443 if secure else 80), target, secure)


class NotifySettings(Section):
    """Who is told of what."""

    time_zone: str = ""
    email: tuple[EmailSettings, ...] = ()
    webhook: tuple[WebhookSettings, ...] = ()

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name or "UTC")
        except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError('is no time zone; write one such as "Europe/Vienna"') from None
        except KeyError:
            raise ValueError('is no time zone of this machine; write one such as "Europe/Vienna"') from None
        return name

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [channel.name for channel in self.channels]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two channels of [notify] are named {name!r}; give each its own name")
        for channel in self.channels:
            if channel.quiet_hours and not self.time_zone:
                raise ValueError(
                    f"notify.time_zone is missing: by whose clock are the quiet_hours of {channel.name!r}?"
                )
        return self

    @property
    def channels(self) -> tuple[EmailSettings | WebhookSettings, ...]:
        """All of them."""
        return (*self.email, *self.webhook)

    @property
    def zone(self) -> ZoneInfo:
        """Whose clock times are told by."""
        return ZoneInfo(self.time_zone or "UTC")


def _is_address(text: str) -> bool:
    try:
        return text.isascii() and text.isprintable() and Address(addr_spec=text).addr_spec == text and "@" in text
    except (ValueError, IndexError):
        return False


def _is_usable(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, port = (url.hostname or "").encode("idna").decode(), url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and "#" not in text and "@" not in url.netloc
    return plain and bool(host) and port != 0 and (url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK))
