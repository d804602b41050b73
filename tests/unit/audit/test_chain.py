"""The hash of a link is of all that a record and its seal say, and stays what it is from version to version."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from triage_agent.audit.chain import link
from triage_agent.audit.syslog import frame
from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.audit_log import GENESIS, Seal

RECORD = AuditRecord(
    id=7,
    at="2026-03-01 08:00:00.000000",
    action="instance_received",
    actor="PACS",
    study_instance_uid="1.2.3",
    detail='{"size": 9}',
)
SEAL = Seal(position=3, record_id=7, floor=6, sealed_at="2026-03-01 08:00:01.000000", head="")
# RFC 5424 section 6
SYSLOG = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) triage-agent (\d+) DICOM\+RFC3881 "
    r'\[meta sequenceId="(\d+)"\] \ufeff(.*)'
)


def test_the_head_is_the_one_that_every_version_computes():
    """A log of years ago must verify: what this says is never changed, a new form gets a new version in its frame."""
    assert link(SEAL, RECORD, GENESIS) == "e61c1ffdab8f7e1182c212bef76bbc4b301acf557930d4d339f2188f1e24e5c5"


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        *((RECORD, {name: other}) for name in ("at", "action", "actor", "detail") for other in ("x", None, 5, b"PACS")),
        *((RECORD, {"study_instance_uid": other}) for other in (None, "", "1.2.30", "null")),
        (RECORD, {"id": 8}),
        *((SEAL, {name: 5}) for name in ("position", "record_id", "floor", "sealed_at")),
    ],
)
def test_whatever_is_changed_changes_the_head(of, changes):
    changed = replace(of, **changes)
    head = link(changed, RECORD, GENESIS) if of is SEAL else link(SEAL, changed, GENESIS)
    assert head != link(SEAL, RECORD, GENESIS)


def test_it_depends_on_the_one_before_and_not_on_its_own():
    assert link(SEAL, RECORD, "1" * 64) != link(SEAL, RECORD, GENESIS)
    assert link(replace(SEAL, head="x"), RECORD, GENESIS) == link(SEAL, RECORD, GENESIS)


def test_values_that_run_into_each_other_are_told_apart():
    one, other = replace(RECORD, action="ab", actor="c"), replace(RECORD, action="a", actor="bc")
    assert link(SEAL, one, GENESIS) != link(SEAL, other, GENESIS)


@pytest.mark.parametrize(("position", "number"), [(1, 1), (2**31 - 1, 2**31 - 1), (2**31, 1)])
def test_a_syslog_message_is_one_whatever_the_host_is_called(position, number):
    made = frame(
        b"<x/>",
        position=position,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        host="read ing\n<1>",
        process=4,
        facility=10,
        failed=True,
    ).decode()
    found = SYSLOG.fullmatch(made)
    assert found.groups() == ("84", "2026-03-01T00:00:00.000Z", "read_ing_<1>", "4", str(number), "<x/>")
