"""Which originals are on the disk no more, and which studies lack an instance that another study has.

Columns are only added, and may be null: what was there before has all its originals and knows of no conflict.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("studies", sa.Column("conflict", sa.String(1000), nullable=True))
    op.add_column("studies", sa.Column("originals_deleted_at", _TIME, nullable=True))
    op.add_column("instances", sa.Column("original_deleted_at", _TIME, nullable=True))
    kept = sa.text("originals_deleted_at IS NULL")
    op.create_index(
        "ix_studies_originals",
        "studies",
        ["status", "last_received_at", "study_instance_uid"],
        sqlite_where=kept,
        postgresql_where=kept,
    )


def downgrade() -> None:
    op.drop_index("ix_studies_originals", "studies")
    op.drop_column("instances", "original_deleted_at")
    op.drop_column("studies", "originals_deleted_at")
    op.drop_column("studies", "conflict")
