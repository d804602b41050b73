"""Where a session began and in which browser, for its owner to know it by.

Columns are only added, and may be null: nobody kept that of sessions that go on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("web_sessions", sa.Column("address", sa.String(64), nullable=True))
    op.add_column("web_sessions", sa.Column("browser", sa.String(60), nullable=True))


def downgrade() -> None:
    op.drop_column("web_sessions", "browser")
    op.drop_column("web_sessions", "address")
