"""How old a study's patient is, as its images say, and what was known of a study when it was decided.

Columns are only added, and may be null: of what was decided before nobody noted what was known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("patient_birth_date", sa.String(8), nullable=True))
    op.add_column("studies", sa.Column("patient_age", sa.SmallInteger, nullable=True))
    op.add_column("decisions", sa.Column("known", sa.JSON, nullable=True))
    op.create_index("ix_decisions_decided", "decisions", ["decided_at"])


def downgrade() -> None:
    op.drop_index("ix_decisions_decided", "decisions")
    op.drop_column("decisions", "known")
    op.drop_column("studies", "patient_age")
    op.drop_column("studies", "patient_birth_date")
