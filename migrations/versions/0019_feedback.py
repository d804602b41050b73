"""What readers say of results, only ever added to; and an index of what each bundle scored in a time."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NEVER = "feedback is never changed"
_VERDICTS = "'agree', 'missed', 'overcalled', 'wrong_region', 'poor_image'"


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("study_instance_uid", sa.String(64), sa.ForeignKey("studies.study_instance_uid"), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(24), nullable=False),
        sa.Column("note", sa.String(1000), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("finding", sa.String(24), nullable=True),
        sa.Column("probability", sa.Float(53), nullable=True),
        sa.Column("region", sa.String(64), nullable=True),
        sa.Column("bundle", sa.String(200), nullable=True),
        sa.Column("rule", sa.String(200), nullable=True),
        sa.CheckConstraint(f"verdict IN ({_VERDICTS})", name="ck_feedback_verdict"),
    )
    op.create_index("ix_feedback_study", "feedback", ["study_instance_uid", "id"])
    op.create_index("ix_feedback_at", "feedback", ["at"])
    op.create_index("ix_studies_bundle", "studies", ["bundle", "decided_at"])
    postgres = op.get_bind().dialect.name == "postgresql"
    refuse = (
        f"EXECUTE FUNCTION triage_refuse('{_NEVER}')" if postgres else f"BEGIN SELECT RAISE(ABORT, '{_NEVER}'); END"
    )
    for operation in ("UPDATE", "DELETE"):
        name = f"feedback_no_{operation.lower()}"
        op.execute(f"CREATE TRIGGER {name} BEFORE {operation} ON feedback FOR EACH ROW {refuse}")
    if postgres:
        op.execute(f"CREATE TRIGGER feedback_no_truncate BEFORE TRUNCATE ON feedback FOR EACH STATEMENT {refuse}")


def downgrade() -> None:
    op.drop_index("ix_studies_bundle", "studies")
    op.drop_table("feedback")  # and its indexes and triggers with it
