"""Merges of patients are kept, for orders and images that come after them with the Patient ID that was given up.

An order knows when the messages were made that said what is known of it. A decision knows whether there were routes:
where none has anything to say of a study, it is delivered all the same. The outbox knows what each row is of, so that
what waits for what is found without reading its bytes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
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
    _queue()


def _queue() -> None:
    """The outbox in the order in which it is sent; the study's priority goes on with the study's."""
    op.add_column("outbox", sa.Column("priority", sa.SmallInteger, nullable=True))
    op.add_column("outbox", sa.Column("study_received_at", _TIME, nullable=True))
    for name, theirs in (("priority", "priority"), ("study_received_at", "received_at")):
        of_study = f"SELECT {theirs} FROM studies WHERE studies.study_instance_uid = outbox.study_instance_uid"  # noqa: S608
        op.execute(f"UPDATE outbox SET {name} = ({of_study})")  # noqa: S608 - literal words
    pending = sa.text("state = 'pending'")
    columns = ["state", "destination", sa.text("priority DESC"), "study_received_at", "id", "next_attempt_at"]
    op.create_index("ix_outbox_queue", "outbox", columns, sqlite_where=pending, postgresql_where=pending)
    raised = "UPDATE outbox SET priority = NEW.priority WHERE study_instance_uid = NEW.study_instance_uid;"
    when = "NEW.priority <> OLD.priority"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER studies_outbox AFTER UPDATE OF priority ON studies WHEN {when} BEGIN {raised} END")
        return
    op.execute(
        "CREATE FUNCTION triage_outbox_priority() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {raised} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER studies_outbox AFTER UPDATE OF priority ON studies FOR EACH ROW WHEN ({when}) "
        "EXECUTE FUNCTION triage_outbox_priority()"
    )


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute("DROP TRIGGER studies_outbox" + ("" if is_sqlite else " ON studies"))
    if not is_sqlite:
        op.execute("DROP FUNCTION triage_outbox_priority()")
    op.drop_index("ix_outbox_queue", "outbox")
    op.drop_column("outbox", "study_received_at")
    op.drop_column("outbox", "priority")
    op.drop_column("outbox", "kind")
    op.drop_column("decisions", "routed")
    for name in ("priority_written_at", "written_at"):
        op.drop_column("orders", name)
    op.drop_table("patient_merges")
