"""The table of the spool, where it is an object store: which bucket, as whom, and what this machine keeps of it."""

import os
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.places import Folder

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9._\-/]{0,200}))?")
_KEY = re.compile(r"[!-~]*")
_SECRETS = ("access_key", "secret_key", "session_token")
_OF_A_STORE = ("endpoint", "region", *_SECRETS, "ca", "acknowledge_when_away", "write_ahead", "cache")


class SpoolSettings(Section):
    """Where received images are kept; without `url` in `data_dir/spool`."""

    url: str = ""
    endpoint: str = ""
    region: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$")
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
            if said := [key for key in _OF_A_STORE if getattr(self, key)]:
                raise ValueError(f"url is missing, and the other keys are without effect ({', '.join(said)}); give it")
            return self
        if _URL.fullmatch(self.url) is None:
            raise ValueError("url is not s3://bucket or s3://bucket/prefix; a prefix has letters, digits and ._-/")
        if self.endpoint and not _is_http(self.endpoint):
            raise ValueError("endpoint is not http(s)://host[:port]; without path, user, query and fragment")
        if self.ca and not self.endpoint.startswith("https://"):
            raise ValueError("ca needs an https endpoint")
        for key in _SECRETS:
            if not _KEY.fullmatch(getattr(self, key)):
                raise ValueError(f"{key} is none: a key is printable ASCII without blanks")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("give both access_key and secret_key, or neither (and AWS's own environment or files)")
        if self.session_token and not self.access_key:
            raise ValueError("session_token needs access_key and secret_key")
        return self

    def require_folders_apart(self, data_dir: Path) -> None:
        """What waits for the store, what may be emptied at any time, and the rest have each a place of their own.

        Only the names are looked at.

        Raises:
            ValueError: one would be, or hold, another.
        """
        if not self.url:
            return
        root = _plain_name(data_dir)
        ahead, cache = (
            _plain_name(given or root / default)
            for given, default in ((self.write_ahead, "write-ahead"), (self.cache, "cache"))
        )
        if ahead.is_relative_to(cache) or cache.is_relative_to(ahead):
            raise ValueError(
                "spool.write_ahead and spool.cache are one, or one is in the other; give each its own folder"
            )
        for key, folder in (("write_ahead", ahead), ("cache", cache)):
            if root.is_relative_to(folder):
                raise ValueError(f"spool.{key} is data_dir, or has it inside; give it a folder of its own")

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


def _plain_name(folder: Path) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100 - takes ".." away, without asking the file system


def _is_http(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    extra = url.path.strip("/") or url.query or url.fragment or "@" in url.netloc
    return plain and url.scheme in {"http", "https"} and bool(url.hostname) and port != 0 and not extra
