"""What the audit trail is searched by: who, and what."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_INDEXES = {"ix_audit_events_action": ["action", "at"], "ix_audit_events_actor": ["actor", "action", "at"]}


def upgrade() -> None:
    for name, columns in _INDEXES.items():
        op.create_index(name, "audit_events", columns)


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, "audit_events")
