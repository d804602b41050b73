"""Unified Procedure Steps: a workitem a study to read, those that peers post, who subscribed, and what to tell them.

A trigger marks a workitem whose study's priority, readiness or revision changed, whoever changed it; reports of it are
made from the mark.
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NAMESPACE = uuid.UUID("7c4fd3a6-2a44-5d5e-9a0e-3f6c1f0c7b11")  # as in `domain.uids` when this was written
_STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
_CHANGED = (
    "NEW.priority <> OLD.priority OR NEW.revision <> OLD.revision"
    " OR (NEW.status = 'receiving') <> (OLD.status = 'receiving')"
)
_MARK = "UPDATE workitems SET stale = true WHERE study_instance_uid = NEW.study_instance_uid"


def upgrade() -> None:
    _workitems()
    _subscriptions()
    _reports()
    _triggers()
    _fill()


def _workitems() -> None:
    states = ", ".join(f"'{state}'" for state in _STATES)
    op.create_table(
        "workitems",
        sa.Column("uid", sa.String(64), primary_key=True),
        sa.Column("study_instance_uid", sa.String(64), sa.ForeignKey("studies.study_instance_uid"), nullable=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("latest", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("transaction_uid", sa.String(64), nullable=True),
        sa.Column("performer", sa.String(200), nullable=True),
        sa.Column("posted_by", sa.String(200), nullable=True),
        sa.Column("code", sa.String(16), nullable=True),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("modified_at", _TIME, nullable=False),
        sa.Column("stale", sa.Boolean, nullable=False),
        sa.Column("told_priority", sa.SmallInteger, nullable=True),
        sa.Column("told_readiness", sa.String(24), nullable=True),
        sa.CheckConstraint(f"state IN ({states})", name="ck_workitems_state"),
        sa.UniqueConstraint("study_instance_uid", "generation", name="uq_workitems_study"),
    )
    on, yes = sa.text("stale"), sa.text("stale = 1")
    op.create_index("ix_workitems_stale", "workitems", ["modified_at"], sqlite_where=yes, postgresql_where=on)
    op.create_index("ix_workitems_state", "workitems", ["state"])
    op.create_index("ix_workitems_code", "workitems", ["code", "state"])


def _subscriptions() -> None:
    op.create_table(
        "workitem_subscriptions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("subscriber", sa.String(16), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("keys", sa.JSON, nullable=False),
        sa.Column("deletion_lock", sa.Boolean, nullable=False),
        sa.Column("subscribed_at", _TIME, nullable=False),
        sa.Column("suspended_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.UniqueConstraint("subscriber", "target", name="uq_workitem_subscriptions_target"),
    )
    op.create_index("ix_workitem_subscriptions_target", "workitem_subscriptions", ["target"])


def _reports() -> None:
    op.create_table(
        "workitem_reports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("subscriber", sa.String(16), nullable=False),
        sa.Column("workitem_uid", sa.String(64), nullable=False),
        sa.Column("type", sa.Integer, nullable=False),
        sa.Column("information", sa.JSON, nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("last_error", sa.String(1000), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'answered', 'dead')", name="ck_workitem_reports_state"),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_workitem_reports_due",
        "workitem_reports",
        ["state", "subscriber", "id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER studies_workitem AFTER UPDATE OF priority, status, revision ON studies WHEN {_CHANGED} "
            f"BEGIN {_MARK} AND latest = 1; END"
        )
        return
    op.execute(
        f"CREATE FUNCTION triage_workitem_stale() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_MARK} AND latest; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER studies_workitem AFTER UPDATE OF priority, status, revision ON studies FOR EACH ROW "
        f"WHEN ({_CHANGED}) EXECUTE FUNCTION triage_workitem_stale()"
    )


def _fill() -> None:
    """Studies that are here already become workitems, of which nobody has to be told."""
    bind = op.get_bind()
    studies = sa.table(
        "studies",
        sa.column("study_instance_uid", sa.String),
        sa.column("priority", sa.SmallInteger),
        sa.column("status", sa.String),
        sa.column("revision", sa.Integer),
        sa.column("received_at", _TIME),
        sa.column("last_received_at", _TIME),
    )
    workitems = sa.Table("workitems", sa.MetaData(), autoload_with=bind)
    for row in bind.execute(sa.select(studies)).all():
        values = {
            "uid": _uid(row.study_instance_uid),
            "study_instance_uid": row.study_instance_uid,
            "generation": 1,
            "latest": True,
            "revision": row.revision,
            "state": "SCHEDULED",
            "attributes": {},
            "created_at": row.received_at,
            "modified_at": row.last_received_at,
            "stale": False,
            "told_priority": row.priority,
            "told_readiness": "INCOMPLETE" if row.status == "receiving" else "READY",
        }
        bind.execute(sa.insert(workitems).values(values))


def _uid(study_instance_uid: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(('workitem', study_instance_uid, '1'))).int}"


def downgrade() -> None:
    op.execute("DROP TRIGGER studies_workitem" + (" ON studies" if op.get_bind().dialect.name != "sqlite" else ""))
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION triage_workitem_stale()")
    for table in ("workitem_reports", "workitem_subscriptions", "workitems"):
        op.drop_table(table)
