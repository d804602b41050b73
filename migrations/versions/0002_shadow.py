"""The region that an image looks like, and what a shadow bundle says of images and decisions.

Columns are only added, and may be null: what was there before has none of these.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OF_INSTANCES = (
    ("seen_anatomy", sa.String(64)),
    ("anatomy_from_image", sa.Boolean()),
    ("shadow_probability", sa.Float(53)),
    ("shadow_digest", sa.String(128)),
)


def upgrade() -> None:
    for name, kind in _OF_INSTANCES:
        op.add_column("instances", sa.Column(name, kind, nullable=True))
    op.add_column("decisions", sa.Column("shadow", sa.JSON, nullable=True))
    compared = sa.text("shadow IS NOT NULL")
    op.create_index(
        "ix_decisions_shadow", "decisions", ["decided_at"], sqlite_where=compared, postgresql_where=compared
    )


def downgrade() -> None:
    op.drop_index("ix_decisions_shadow", "decisions")
    op.drop_column("decisions", "shadow")
    for name, _ in reversed(_OF_INSTANCES):
        op.drop_column("instances", name)
