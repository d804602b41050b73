"""The audit log for people and other programs: rows of CSV, or DICOM audit messages in one XML document."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from triage_agent.audit.messages import Patient, Source, message
from triage_agent.domain.audit import AuditRecord, AuditTrail
from triage_agent.domain.visible import harmless

COLUMNS = ("id", "at", "action", "actor", "study_instance_uid", "detail")

_PIECE = 200  # messages whose patients are looked up at once
_DECLARATION = re.compile(rb"^<\?xml[^>]*\?>")


def row_of(record: AuditRecord) -> dict[str, object]:
    """A record as a row; its time as RFC 3339, its detail as it is stored (JSON)."""
    return {
        "id": record.id,
        "at": f"{record.at}Z".replace(" ", "T"),
        "action": record.action,
        "actor": record.actor,
        "study_instance_uid": record.study_instance_uid,
        "detail": record.detail,
    }


def as_csv(records: Iterable[AuditRecord]) -> Iterator[str]:
    """RFC 4180, with a header.

    An actor may be what a stranger called himself: what a spreadsheet would take for a formula has a ' before it, and
    what a terminal would obey is written as an escape.
    """
    yield _csv_line(COLUMNS)
    for record in records:
        yield _csv_line([harmless(value) if isinstance(value, str) else value for value in row_of(record).values()])


def csv_note(text: str) -> str:
    """A row that is no record, with a word to whoever reads the rows."""
    return _csv_line([*("" for _ in COLUMNS[1:]), text])


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def as_xml(records: Iterator[AuditRecord], trail: AuditTrail, source: Source) -> Iterator[str]:
    """`AuditMessages` with the message of each record; what makes none, or is not the agent's, is a comment."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n'
    while piece := list(islice(records, _PIECE)):
        patients = trail.patients({str(one.study_instance_uid) for one in piece if one.study_instance_uid is not None})
        for record in piece:
            yield _message(record, patients.get(str(record.study_instance_uid)), source)
    yield "</AuditMessages>\n"


def _message(record: AuditRecord, patient: tuple[str, str] | None, source: Source) -> str:
    try:
        made = message(record.event, source, Patient(*patient) if patient else None)
    except ValueError:
        return f"<!-- record {int(record.id)} is not as the agent wrote it: see `audit verify` -->\n"
    if made is None:
        return f"<!-- record {int(record.id)} makes no message -->\n"
    return _DECLARATION.sub(b"", made).decode() + "\n"
