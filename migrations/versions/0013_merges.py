"""Merges of patients are kept, for orders and images that come after them with the Patient ID that was given up.

An order knows when the messages were made that said what is known of it. A decision knows whether there were routes:
where none has anything to say of a study, it is delivered all the same. The outbox knows what each row is of, so that
what waits for what is found without reading its bytes.
"""

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
    for name in ("written_at", "priority_written_at"):
        op.add_column("orders", sa.Column(name, _TIME, nullable=True))
    op.add_column("decisions", sa.Column("routed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("outbox", sa.Column("kind", sa.String(32), nullable=True))
    op.execute("UPDATE outbox SET kind = (SELECT kind FROM artifacts WHERE artifacts.id = outbox.artifact_id)")


def downgrade() -> None:
    op.drop_column("outbox", "kind")
    op.drop_column("decisions", "routed")
    for name in ("priority_written_at", "written_at"):
        op.drop_column("orders", name)
    op.drop_table("patient_merges")
