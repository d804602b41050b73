"""Which spool belongs to the database, and which requests for storage commitment new ones may take the rows of.

Of the spool one row at most, written by the agent when it first starts with both: a database that was made before has
none, and is joined to the spool that has its files.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spools",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("spool_id", sa.String(32), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_spools_one"),
    )
    ended = sa.text("next_attempt_at IS NULL")
    op.create_index(
        "ix_commitment_requests_ended",
        "commitment_requests",
        ["requested_at"],
        sqlite_where=ended,
        postgresql_where=ended,
    )


def downgrade() -> None:
    op.drop_index("ix_commitment_requests_ended", "commitment_requests")
    op.drop_table("spools")
