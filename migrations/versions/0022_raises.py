"""What an order's message raises to, also where 0009 was run before it made that column."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("outbox")}
    if "raises_to" not in known:
        op.add_column("outbox", sa.Column("raises_to", sa.SmallInteger, nullable=True))


def downgrade() -> None:
    """0009 takes the column away."""
