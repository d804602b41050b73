"""Who sends to one destination does not walk through what waits for another; wakes whoever fetches from a PACS.

The index of what is due gets the destination; one more finds deadlines of storage commitment that lie too far ahead.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Trigger and when it fires; the function is that of 0004.
_WAKES = (
    ("retrievals_wake", "AFTER INSERT ON retrievals FOR EACH STATEMENT"),
    (
        "retrievals_wake_again",
        "AFTER UPDATE OF attempts ON retrievals FOR EACH ROW WHEN (NEW.attempts = 0 AND OLD.attempts > 0)",
    ),
)


def upgrade() -> None:
    op.drop_index("ix_outbox_due", "outbox")
    op.create_index("ix_outbox_due", "outbox", ["state", "destination", "next_attempt_at"])
    waits = sa.text("commit_at IS NOT NULL")
    op.create_index("ix_outbox_commit_at", "outbox", ["commit_at"], sqlite_where=waits, postgresql_where=waits)
    if op.get_bind().dialect.name == "postgresql":
        for name, when in _WAKES:
            op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION triage_wake('fetch')")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name, _ in _WAKES:
            op.execute(f"DROP TRIGGER {name} ON retrievals")
    op.drop_index("ix_outbox_commit_at", "outbox")
    op.drop_index("ix_outbox_due", "outbox")
    op.create_index("ix_outbox_due", "outbox", ["state", "next_attempt_at"])
