"""Studies that are fetched from a PACS: each by one process at a time, a bounded number of times.

No reference to `studies`: a study stands here before its first image has come.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RETRIEVAL_STATES = ("waiting", "done", "given_up")

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    states = ", ".join(f"'{state}'" for state in RETRIEVAL_STATES)
    op.create_table(
        "retrievals",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("peer", sa.String(200), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.String(200), nullable=True),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("expected", sa.Integer, nullable=True),
        sa.Column("missing", sa.JSON, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("last_error", sa.String(1000), nullable=True),
        sa.CheckConstraint(f"state IN ({states})", name="ck_retrievals_state"),
    )
    _partial_index("ix_retrievals_due", ["state", "next_attempt_at"], "state = 'waiting'")
    _partial_index("ix_retrievals_lease_owner", ["lease_owner"], "lease_owner IS NOT NULL")


def downgrade() -> None:
    op.drop_table("retrievals")


def _partial_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "retrievals", columns, sqlite_where=where, postgresql_where=where)
