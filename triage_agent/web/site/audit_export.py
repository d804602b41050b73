"""Exports the audit trail to a browser: in pieces, bounded, a few at a time."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import chain, islice

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from triage_agent.audit.export import as_csv, as_xml, csv_note
from triage_agent.domain.audit import AuditQuestion, AuditRecord
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.web.site.audit_chain import AuditParts

MOST = 250_000
"""Records in one export; who wants more asks for one period after the other, or types `audit export`."""

_AT_ONCE = 2
_LONGEST_SECONDS = 1800.0
_LINES = 500


class Exports:
    """Those that run. A browser that stopped reading holds its place no longer than an export may take."""

    def __init__(self, longest: float = _LONGEST_SECONDS) -> None:
        self._longest = longest
        self._running: dict[object, float] = {}

    def require_room(self) -> object:
        """A place for one more; it is given back when its stream ends.

        Raises:
            HTTPException: 503 while others export.
        """
        now = time.monotonic()
        self._running = {key: since for key, since in self._running.items() if now - since < self._longest}
        if len(self._running) >= _AT_ONCE:
            raise HTTPException(503, "Others export at this moment. Try again later.", {"Retry-After": "60"})
        place = object()
        self._running[place] = now
        return place

    async def stream(self, place: object, lines: Iterator[str]) -> AsyncIterator[bytes]:
        """The lines as bytes; an export that cannot be finished breaks off, so that nobody takes it for whole."""
        until = time.monotonic() + self._longest
        try:
            while piece := await run_in_threadpool(_piece, lines):
                yield piece
                if time.monotonic() > until:
                    raise WorklistUnavailableError("the export took too long", remedy="ask for a shorter period")
        finally:
            self.leave(place)

    def leave(self, place: object) -> None:
        """Give a place back."""
        self._running.pop(place, None)


def lines_of(parts: AuditParts, question: AuditQuestion, form: str, *, masked: bool = False) -> Iterator[str]:
    """The records as rows (`csv`) or as DICOM audit messages (`xml`); where they are not all, the end says so.

    `masked`: for somebody from whom patients are hidden: messages leave them out, whatever the site has them say.
    """
    source = replace(parts.source, patients="none") if masked else parts.source
    records = _Counted(parts.log.walk(replace(question, limit=MOST + 1)), MOST)
    yield from as_xml(records, parts.log, source) if form == "xml" else as_csv(records)
    if records.is_cut:
        said = f"NOT ALL: an export has at most {MOST} records, ask for a shorter period"
        yield f"<!-- {said} -->\n" if form == "xml" else csv_note(said)


def begun(lines: Iterator[str]) -> Iterator[str]:
    """The same, of which the first have been read: that the database is away is known before anything is answered."""
    return chain(list(islice(lines, _LINES)), lines)


class _Counted(Iterator[AuditRecord]):
    """So many records, and whether there were more."""

    def __init__(self, records: Iterator[AuditRecord], most: int) -> None:
        self._records = records
        self._left = most
        self.is_cut = False

    def __next__(self) -> AuditRecord:
        """The next one."""
        record = next(self._records)
        if self._left == 0:
            self.is_cut = True
            raise StopIteration
        self._left -= 1
        return record


def _piece(lines: Iterator[str]) -> bytes:
    return "".join(islice(lines, _LINES)).encode("utf-8", "replace")
