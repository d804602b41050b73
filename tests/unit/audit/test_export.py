"""Records leave the house as rows or as messages, and nothing in them does harm where they go."""

import csv
import io
import json
from datetime import UTC, datetime

from lxml import etree

from triage_agent.audit.export import as_csv, as_xml
from triage_agent.audit.messages import Source
from triage_agent.domain.audit import AuditRecord

SOURCE = Source(source_id="TRIAGE", site="", ae_title="TRIAGE", host="h", patients="id")


class Patients:
    def patients(self, studies):
        return dict.fromkeys(studies, ("4711", "Doe^Jane"))


def record(number, **changes):
    values = {
        "id": number,
        "at": "2026-03-01 08:00:00.000000",
        "action": "study_viewed",
        "actor": "PACS",
        "study_instance_uid": "1.2.3",
        "detail": "{}",
    }
    return AuditRecord(**{**values, "action": "decision_made", **changes})


def test_rows_are_csv_and_no_spreadsheet_takes_them_for_a_formula():
    detail = json.dumps({"a": 'x",\n"'})
    rows = list(csv.DictReader(io.StringIO("".join(as_csv([record(1, actor="=cmd()", detail=detail), record(2)])))))
    assert [row["actor"] for row in rows] == ["'=cmd()", "PACS"]
    assert json.loads(rows[0]["detail"]) == {"a": 'x",\n"'}
    assert datetime.fromisoformat(rows[0]["at"]) == datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_messages_are_one_document_that_says_what_it_leaves_out():
    records = [record(1), record(2, action="status_changed"), record(3, detail="--> <x>"), record(4, actor="<&>")]
    root = etree.fromstring("".join(as_xml(iter(records), Patients(), SOURCE)).encode())
    assert [child.tag for child in root if isinstance(child.tag, str)] == ["AuditMessage", "AuditMessage"]
    assert [str(child) for child in root if not isinstance(child.tag, str)] == [
        "<!-- record 2 makes no message -->",
        "<!-- record 3 is not as the agent wrote it: see `audit verify` -->",
    ]
    assert [one.get("ParticipantObjectID") for one in root.findall(".//ParticipantObjectIdentification")][:2] == [
        "1.2.3",
        "4711",
    ]
