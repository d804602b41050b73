"""On Postgres whoever queues work wakes who waits for it (NOTIFY); an index for accession numbers.

A notification is part of its transaction: nobody is woken by what is rolled back, and nothing is sent twice.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Trigger, when it fires, and whom it wakes: the beginning of the names of loops.
_WAKES = (
    ("instances_wake", "AFTER INSERT ON instances FOR EACH STATEMENT", "worker"),
    (
        "studies_wake",
        "AFTER UPDATE OF status ON studies FOR EACH ROW WHEN (NEW.status = 'ready' AND OLD.status <> 'ready')",
        "worker",
    ),
    ("outbox_wake", "AFTER INSERT ON outbox FOR EACH STATEMENT", "deliver"),
    (
        "outbox_wake_again",
        "AFTER UPDATE OF state ON outbox FOR EACH ROW WHEN (NEW.state = 'pending' AND OLD.state <> 'pending')",
        "deliver",
    ),
)


def upgrade() -> None:
    known = sa.text("accession_number IS NOT NULL")
    op.create_index("ix_studies_accession", "studies", ["accession_number"], sqlite_where=known, postgresql_where=known)
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        "CREATE FUNCTION triage_wake() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN PERFORM pg_notify('triage_work', TG_ARGV[0]); RETURN NULL; END $$"
    )
    for name, when, whom in _WAKES:
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION triage_wake('{whom}')")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name, when, _ in _WAKES:
            table = when.split(" ON ")[1].split()[0]
            op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute("DROP FUNCTION triage_wake()")
    op.drop_index("ix_studies_accession", "studies")
