"""What tests of the audit console put into the trail, and ask its pages."""

from datetime import timedelta

from support.story import STUDY

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction


def record(hospital, action=AuditAction.STUDY_VIEWED, actor="dr.lee", study=STUDY, after=0, **detail):
    at = hospital.now + timedelta(seconds=after)
    hospital.worklist.record_audit(
        AuditEvent(at=at, action=action, actor=actor, study_instance_uid=study, detail=detail)
    )


def show(browser, **asked):
    page = browser.get("/audit", params=asked)
    assert page.status_code == 200
    return page
