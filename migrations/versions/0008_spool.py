"""Which spool belongs to the database.

One row at most, written by the agent when it first starts with both: a database that was made before has none, and is
joined to the spool that has its files.
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


def downgrade() -> None:
    op.drop_table("spools")
