"""What is kept of an object when its bytes are let go, and when it was withdrawn.

Objects of before have no header of their own. Those that a rejection note stands behind count as withdrawn when it was
made: a note names all that its destination had.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_OBJECTS = "('sr', 'sr-comprehensive', 'sr-enhanced', 'sr-text', 'gsps', 'sc', 'kos', 'pdf')"
_BEHIND = (
    "note.study_instance_uid = artifacts.study_instance_uid AND note.kind = 'rejection' AND note.id > artifacts.id"
)


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("header", sa.LargeBinary, nullable=True))
    op.add_column("artifacts", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    first_note = f"(SELECT min(note.created_at) FROM artifacts AS note WHERE {_BEHIND})"  # noqa: S608 - our own words
    op.execute(f"UPDATE artifacts SET withdrawn_at = {first_note} WHERE kind IN {_OBJECTS}")  # noqa: S608


def downgrade() -> None:
    op.drop_column("artifacts", "withdrawn_at")
    op.drop_column("artifacts", "header")
