"""The queue of studies and the outbox of results: the only SQL in the house."""

from triage_agent.worklist.accounts import SqlAccounts
from triage_agent.worklist.audit_log import SqlAuditLog, audit_log_of
from triage_agent.worklist.audit_reading import SqlAuditTrail
from triage_agent.worklist.engine import open_engine
from triage_agent.worklist.feedback import SqlFeedback
from triage_agent.worklist.limits import MAX_ATTEMPTS
from triage_agent.worklist.memory import MemoryWorklist
from triage_agent.worklist.migrate import current, is_current, upgrade
from triage_agent.worklist.reading import SqlReadingList
from triage_agent.worklist.repository import SqlWorklist, database_of
from triage_agent.worklist.saved_views import SqlSavedViews
from triage_agent.worklist.second_factors import SqlSecondFactors

__all__ = [
    "MAX_ATTEMPTS",
    "MemoryWorklist",
    "SqlAccounts",
    "SqlAuditLog",
    "SqlAuditTrail",
    "SqlFeedback",
    "SqlReadingList",
    "SqlSavedViews",
    "SqlSecondFactors",
    "SqlWorklist",
    "audit_log_of",
    "current",
    "database_of",
    "is_current",
    "open_engine",
    "upgrade",
]
