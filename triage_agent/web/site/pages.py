"""Renders templates, and serves the files that pages need; nothing comes from anywhere else."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from triage_agent.domain.accounts import Role
from triage_agent.web.site import words
from triage_agent.web.site.gate import Visitor

_FOLDER = Path(__file__).resolve().parents[1]
_STATIC = _FOLDER / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@lru_cache(maxsize=1)
def static_files() -> Mapping[str, bytes]:
    """Every file, by its name; read once, so that no name from a request ever reaches the file system."""
    return {file.name: file.read_bytes() for file in sorted(_STATIC.iterdir()) if file.suffix in _KINDS}


@lru_cache(maxsize=1)
def static_version() -> str:
    """Changes when any of the files does, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for name, content in static_files().items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


def static(version: str, name: str) -> Response:
    """One of the files."""
    if name not in static_files() or version != static_version():
        raise HTTPException(404, "there is no such file")
    kind = _KINDS[Path(name).suffix]
    return Response(
        static_files()[name], media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )


class Pages:
    """The templates, with what every page shows."""

    def __init__(self, institution: str, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,  # whatever the name of a template
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= words.FILTERS
        self._environment.globals |= {"institution": institution, "version": version, "assets": static_version()}

    def show(self, template: str, visitor: Visitor | None, status: int = 200, **values: Any) -> Response:
        """A page."""
        return HTMLResponse(self.text(template, visitor, **values), status_code=status)

    def text(self, template: str, visitor: Visitor | None, **values: Any) -> str:
        """A page, or a part of one, as text."""
        session = visitor.session if visitor is not None else None
        roles = session.account.roles if session is not None else frozenset()
        return self._environment.get_template(template).render(
            session=session,
            may_audit=bool(roles & {Role.ADMIN, Role.AUDITOR}),
            may_watch=bool(roles & {Role.RADIOLOGIST, Role.ADMIN, Role.AUDITOR}),
            may_manage=Role.ADMIN in roles,
            is_reader=Role.RADIOLOGIST in roles,
            **values,
        )


def static_router() -> APIRouter:
    """The route of the files."""
    router = APIRouter()
    router.get("/static/{version}/{name}")(static)
    return router
