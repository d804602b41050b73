"""The table of the spool, where it is an object store: which bucket, as whom, and what this machine keeps of it."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.places import Folder

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9._\-/]{0,200}))?")


class SpoolSettings(Section):
    """Where received images are kept; without `url` in `data_dir/spool`."""

    url: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    ca: Path | None = None
    timeout_seconds: float = Field(default=20, ge=1, le=600)
    acknowledge_when_away: bool = False
    write_ahead: Folder | None = None
    held_hours: float = Field(default=24, gt=0, le=24 * 365)
    cache: Folder | None = None
    cache_mb: int = Field(default=4096, ge=64, le=1 << 24)

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        """Of the table as a whole, so that no message repeats a secret."""
        if not self.url:
            return self
        if _URL.fullmatch(self.url) is None:
            raise ValueError("url is not s3://bucket or s3://bucket/prefix; a prefix has letters, digits and ._-/")
        if self.endpoint and not _is_http(self.endpoint):
            raise ValueError("endpoint is not http(s)://host[:port]; without path, user, query and fragment")
        if self.ca and not self.endpoint.startswith("https://"):
            raise ValueError("ca needs an https endpoint")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("give both access_key and secret_key, or neither (and AWS's own environment or files)")
        if self.session_token and not self.access_key:
            raise ValueError("session_token needs access_key and secret_key")
        return self

    @property
    def bucket(self) -> str:
        """Of the url."""
        found = _URL.fullmatch(self.url)
        return found["bucket"] if found else ""

    @property
    def prefix(self) -> str:
        """Of the url; empty for the whole bucket."""
        found = _URL.fullmatch(self.url)
        return (found["prefix"] or "").strip("/") if found else ""

    @property
    def is_plain(self) -> bool:
        """Whether images would cross a network unencrypted."""
        url = urlsplit(self.endpoint)
        return bool(self.url) and url.scheme == "http" and url.hostname not in LOOPBACK


def _is_http(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    extra = url.path.strip("/") or url.query or url.fragment or "@" in url.netloc
    return plain and url.scheme in {"http", "https"} and bool(url.hostname) and port != 0 and not extra
