"""Merges of patients are kept, for orders and images that come after them with the Patient ID that was given up."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "patient_merges",
        sa.Column("prior_patient_id", sa.String(64), primary_key=True),
        sa.Column("survivor", sa.JSON, nullable=False),
        sa.Column("control_id", sa.String(200), nullable=False),
        sa.Column("sender", sa.String(200), nullable=False),
        sa.Column("merged_at", _TIME, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("patient_merges")
