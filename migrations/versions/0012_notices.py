"""Notices by e-mail and webhook: which channel wants what, what each is told, which routes fail; when what was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "notice_wishes",
        sa.Column("channel", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(24), primary_key=True),
        sa.Column("active", sa.Boolean, nullable=False),
    )
    op.create_table(
        "notice_routes",
        sa.Column("destination", sa.String(200), primary_key=True),
        sa.Column("failing_since", _TIME, nullable=True),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=True),
        sa.Column("destination", sa.String(200), nullable=True),
        sa.Column("failing_since", _TIME, nullable=True),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("message", sa.BigInteger, nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("last_error", sa.String(1000), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'dead')", name="ck_notices_state"),
        sa.UniqueConstraint("channel", "key", name="uq_notices_key"),
    )
    _partial("ix_notices_waiting", "notices", ["state", "channel", "message", "id"], "state = 'waiting'")
    _partial("ix_notices_ended", "notices", ["channel", "ended_at"], "ended_at IS NOT NULL")
    _partial("ix_outbox_sent", "outbox", ["destination", "sent_at"], "sent_at IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    op.drop_index("ix_outbox_sent", "outbox")
    for table in ("notices", "notice_routes", "notice_wishes"):
        op.drop_table(table)
