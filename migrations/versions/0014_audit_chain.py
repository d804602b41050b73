"""The audit log's chain: seals, where it ends, and how far its readers are. Records that are here are sealed later.

On Postgres a record's id is taken only once its transaction has its number, so that a transaction that began after one
has a number behind it, whatever ids both take: the sealer tells by the numbers which ids nobody will commit any more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NEXT_ID = "nextval('audit_events_id_seq'::regclass)"
_NUMBERED_FIRST = f"CASE WHEN pg_current_xact_id() IS NOT NULL THEN {_NEXT_ID} END"


def upgrade() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("record_id", sa.BigInteger, nullable=False, unique=True),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("sealed_at", _TIME, nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
    )
    numbers = ("position", "floor", "seen_id", "mark_id", "mark_xid")
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("head", sa.String(64), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one"),
    )
    op.create_table(
        "audit_cursors",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(200), nullable=True),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("last_error", sa.String(1000), nullable=True),
    )
    begins = dict.fromkeys(numbers, 0) | {"id": 1, "head": "0" * 64}
    op.bulk_insert(head, [begins])
    _refusals()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE audit_events ALTER COLUMN id SET DEFAULT {_NUMBERED_FIRST}")


def _refusals() -> None:
    never = "seals of the audit log are never changed"
    _refuse("audit_seals_no_update", "UPDATE", "audit_seals", never, "")
    _refuse("audit_seals_no_delete", "DELETE", "audit_seals", never, "")
    shorter = "the audit log never gets shorter"
    _refuse("audit_head_no_delete", "DELETE", "audit_head", shorter, "")
    _refuse(
        "audit_head_never_falls",
        "UPDATE",
        "audit_head",
        shorter,
        "NEW.position < OLD.position OR NEW.floor < OLD.floor",
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("audit_seals", "audit_head"):
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION triage_refuse('{shorter}')"
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
    """Records stay; a chain over them is made anew by the next upgrade."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE audit_events ALTER COLUMN id SET DEFAULT {_NEXT_ID}")
    for table in ("audit_cursors", "audit_head", "audit_seals"):
        op.drop_table(table)  # and its triggers with it
