"""The worklist: studies, instances, decisions, artifacts, outbox and audit events, and what the database refuses.

Everything here is literal and frozen: a later change of the code's words is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The legal status changes as on the day of this migration; a test compares them with domain.states.TRANSITIONS.
STATUS_CHANGES = (
    ("receiving", "ready"),
    ("ready", "receiving"),
    ("ready", "scoring"),
    ("scoring", "receiving"),
    ("scoring", "ready"),
    ("scoring", "decided"),
    ("scoring", "out_of_scope"),
    ("scoring", "needs_human"),
    ("decided", "receiving"),
    ("decided", "delivered"),
    ("delivered", "receiving"),
    ("out_of_scope", "receiving"),
    ("out_of_scope", "ready"),
    ("needs_human", "receiving"),
    ("needs_human", "ready"),
)
STATUSES = ("receiving", "ready", "scoring", "decided", "delivered", "out_of_scope", "needs_human")
FINDINGS = ("abnormal", "normal", "uncertain", "not_assessed")
OUTCOMES = ("scored", "skipped", "failed")
DELIVERY_STATES = ("pending", "sending", "sent", "dead")

_UID = sa.String(64)
_TIME = sa.DateTime(timezone=True)
_SURROGATE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_studies()
    _create_instances()
    _create_decisions()
    _create_outbox()
    _create_audit_events()
    _create_refusals()


def _required(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=False)


def _optional(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=True)


def _study_reference() -> sa.Column:
    return sa.Column("study_instance_uid", _UID, sa.ForeignKey("studies.study_instance_uid"), nullable=False)


def _one_of(column: str, words: tuple[str, ...], table: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def _probability(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("probability BETWEEN 0 AND 1", name=f"ck_{table}_probability")


def _partial_index(name: str, table: str, columns: list[object], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _create_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", _UID, primary_key=True),
        _optional("accession_number", sa.String(64)),
        _optional("patient_id", sa.String(64)),
        _optional("patient_name", sa.String(324)),
        _optional("modality", sa.String(16)),
        _required("status", sa.String(24)),
        _optional("status_reason", sa.String(1000)),
        _required("revision", sa.Integer),
        _required("priority", sa.SmallInteger),
        _required("priority_at_arrival", sa.SmallInteger),
        _required("instances", sa.Integer),
        _required("received_at", _TIME),
        _required("first_received_at", _TIME),
        _required("last_received_at", _TIME),
        _optional("next_check_at", _TIME),
        _required("asked", sa.Integer),
        _optional("lease_owner", sa.String(200)),
        _optional("lease_until", _TIME),
        _required("attempts", sa.Integer),
        _optional("anatomy", sa.String(64)),
        _optional("finding", sa.String(24)),
        _optional("probability", sa.Float(53)),
        _optional("acr_category", sa.String(8)),
        _optional("rule", sa.String(200)),
        _optional("bundle", sa.String(200)),
        _required("reasons", sa.JSON),
        _optional("flagged_at", _TIME),
        _optional("decided_at", _TIME),
        _optional("delivered_at", _TIME),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name="ck_studies_priority"),
        sa.CheckConstraint("priority_at_arrival BETWEEN 0 AND 2", name="ck_studies_priority_at_arrival"),
        sa.CheckConstraint("priority >= priority_at_arrival", name="ck_studies_priority_kept"),
        sa.CheckConstraint("revision >= 1", name="ck_studies_revision"),
        _one_of("status", STATUSES, "studies"),
        _one_of("finding", FINDINGS, "studies"),
        _probability("studies"),
    )
    # Postgres puts nulls first in a descending index unless told, SQLite last and cannot be told.
    last = " NULLS LAST" if op.get_bind().dialect.name == "postgresql" else ""
    best_first = ["priority DESC", f"probability DESC{last}", "received_at", "study_instance_uid"]
    op.create_index("ix_studies_list", "studies", [sa.text(column) for column in best_first])
    op.create_index("ix_studies_status", "studies", [sa.text(column) for column in ["status", *best_first]])
    oldest_first = ["status", sa.text("priority DESC"), "received_at", "study_instance_uid"]
    _partial_index("ix_studies_ready", "studies", oldest_first, "status = 'ready'")
    _partial_index("ix_studies_receiving", "studies", ["status", "next_check_at"], "status = 'receiving'")
    _partial_index("ix_studies_scoring", "studies", ["status", "lease_until"], "status = 'scoring'")


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        _study_reference(),
        _required("revision", sa.Integer),
        _required("series_instance_uid", _UID),
        _required("sop_class_uid", _UID),
        _required("transfer_syntax_uid", _UID),
        _required("path", sa.Text),
        _required("sha256", sa.String(64)),
        _required("size", sa.BigInteger),
        _required("source", sa.String(64)),
        _required("received_at", _TIME),
        _optional("lease_owner", sa.String(200)),
        _optional("lease_until", _TIME),
        _required("attempts", sa.Integer),
        _optional("outcome", sa.String(24)),
        _optional("probability", sa.Float(53)),
        _optional("reason", sa.String(1000)),
        _optional("anatomy", sa.String(64)),
        _optional("bundle_digest", sa.String(128)),
        _optional("assessed_at", _TIME),
        _one_of("outcome", OUTCOMES, "instances"),
        _probability("instances"),
    )
    op.create_index("ix_instances_study", "instances", ["study_instance_uid", "received_at"])
    _partial_index("ix_instances_unassessed", "instances", ["study_instance_uid"], "outcome IS NULL")
    _partial_index("ix_instances_lease_owner", "instances", ["lease_owner"], "lease_owner IS NOT NULL")


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", _SURROGATE, primary_key=True),
        _study_reference(),
        _required("revision", sa.Integer),
        _required("event", sa.String(24)),
        _required("finding", sa.String(24)),
        _optional("probability", sa.Float(53)),
        _required("priority", sa.SmallInteger),
        _optional("acr_category", sa.String(8)),
        _required("rule", sa.String(200)),
        _required("reasons", sa.JSON),
        _required("status_reason", sa.String(1000)),
        _optional("anatomy", sa.String(64)),
        _required("model", sa.JSON),
        _required("decided_by", sa.String(200)),
        _required("decided_at", _TIME),
        sa.UniqueConstraint("study_instance_uid", "revision", name="uq_decisions_revision"),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name="ck_decisions_priority"),
        _one_of("event", ("decided", "excluded", "failed"), "decisions"),
        _one_of("finding", FINDINGS, "decisions"),
        _probability("decisions"),
    )


def _create_outbox() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", _SURROGATE, primary_key=True),
        _study_reference(),
        _required("revision", sa.Integer),
        _required("kind", sa.String(32)),
        _required("uid", sa.String(128)),
        _required("body", sa.LargeBinary),
        _required("summary", sa.String(1000)),
        _required("created_at", _TIME),
        sa.UniqueConstraint("study_instance_uid", "revision", "uid", name="uq_artifacts_uid"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _SURROGATE, primary_key=True),
        sa.Column("artifact_id", _SURROGATE, sa.ForeignKey("artifacts.id"), nullable=False),
        _study_reference(),
        _required("revision", sa.Integer),
        _required("destination", sa.String(200)),
        _required("of_decision", sa.Boolean),
        _required("state", sa.String(24)),
        _required("attempts", sa.Integer),
        _optional("next_attempt_at", _TIME),
        _optional("lease_owner", sa.String(200)),
        _optional("lease_until", _TIME),
        _optional("sent_at", _TIME),
        _optional("last_error", sa.String(1000)),
        sa.UniqueConstraint("artifact_id", "destination", name="uq_outbox_destination"),
        _one_of("state", DELIVERY_STATES, "outbox"),
    )
    op.create_index("ix_outbox_due", "outbox", ["state", "next_attempt_at"])
    op.create_index("ix_outbox_study", "outbox", ["study_instance_uid", "id"])


def _create_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", _SURROGATE, primary_key=True),
        _required("at", _TIME),
        _required("action", sa.String(48)),
        _required("actor", sa.String(200)),
        _optional("study_instance_uid", sa.String(64)),
        _required("detail", sa.JSON),
        sqlite_autoincrement=True,  # an id is never given twice
    )
    op.create_index("ix_audit_events_study", "audit_events", ["study_instance_uid", "id"])
    op.create_index("ix_audit_events_at", "audit_events", ["at"])


def _create_refusals() -> None:
    """Promises 3 and 4 and the audit log's permanence, whoever writes the SQL."""
    legal = ", ".join(f"'{before}>{after}'" for before, after in STATUS_CHANGES)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION triage_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'check_violation'; END $$"
        )
    _refuse(
        "studies_priority_never_falls",
        "UPDATE",
        "studies",
        "a priority is never lowered",
        "NEW.priority < OLD.priority OR NEW.priority_at_arrival < OLD.priority_at_arrival",
    )
    _refuse(
        "studies_status_by_the_table",
        "UPDATE",
        "studies",
        "this status change is not in the table of legal ones",
        f"NEW.status <> OLD.status AND (OLD.status || '>' || NEW.status) NOT IN ({legal})",
    )
    _refuse(
        "studies_revision_never_falls",
        "UPDATE",
        "studies",
        "a revision is never taken back",
        "NEW.revision < OLD.revision",
    )
    for operation in ("UPDATE", "DELETE"):
        name = f"audit_events_no_{operation.lower()}"
        _refuse(name, operation, "audit_events", "audit events are never changed", "")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events "
            "FOR EACH STATEMENT EXECUTE FUNCTION triage_refuse('audit events are never changed')"
        )


def _refuse(name: str, operation: str, table: str, message: str, condition: str) -> None:
    """A trigger that refuses `operation` on rows where `condition` holds (always, when it is empty)."""
    when = f"WHEN ({condition}) " if condition else ""
    if op.get_bind().dialect.name == "postgresql":
        action = f"EXECUTE FUNCTION triage_refuse('{message}')"
    else:
        action = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    op.execute(f"CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW {when}{action}")


def downgrade() -> None:
    """Only where nothing was ever received: the tables are the record of what was."""
    connection = op.get_bind()
    for rows in ("SELECT count(*) FROM studies", "SELECT count(*) FROM audit_events"):
        if connection.execute(sa.text(rows)).scalar_one():
            message = "the first migration is not taken back while there are studies or audit events: restore a backup"
            raise RuntimeError(message)
    for table in ("audit_events", "outbox", "artifacts", "decisions", "instances", "studies"):
        op.drop_table(table)  # and its indexes and triggers with it
    if connection.dialect.name == "postgresql":
        op.execute("DROP FUNCTION triage_refuse()")
