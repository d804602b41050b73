"""Storage commitment: what peers ask of us, and whether destinations keep what they were sent.

A delivery can now be `committed`, so the outbox's closed set of states is written anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DELIVERY_STATES = ("pending", "sending", "sent", "committed", "dead")
_DELIVERY_STATES_BEFORE = ("pending", "sending", "sent", "dead")
ANSWER_STATES = ("waiting", "answered", "dead")

_TIME = sa.DateTime(timezone=True)
_SURROGATE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OF_OUTBOX = (
    ("transaction_uid", sa.String(64)),
    ("commit_at", _TIME),
    ("committed_at", _TIME),
)
_COUNTERS_OF_OUTBOX = ("commit_asks", "commit_resends")


def upgrade() -> None:
    for name, kind in _OF_OUTBOX:
        op.add_column("outbox", sa.Column(name, kind, nullable=True))
    for name in _COUNTERS_OF_OUTBOX:
        op.add_column("outbox", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    _allow_states(DELIVERY_STATES)
    _partial_index("ix_outbox_commit", "outbox", ["destination", "commit_at"], "commit_at IS NOT NULL")
    _partial_index("ix_outbox_transaction", "outbox", ["transaction_uid"], "transaction_uid IS NOT NULL")
    op.create_index("ix_artifacts_uid", "artifacts", ["uid"])
    op.create_table(
        "commitment_requests",
        sa.Column("id", _SURROGATE, primary_key=True),
        sa.Column("peer", sa.String(200), nullable=False),
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("objects", sa.JSON, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=True),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=True),
        sa.Column("answered_at", _TIME, nullable=True),
        sa.Column("last_error", sa.String(1000), nullable=True),
        sa.UniqueConstraint("peer", "transaction_uid", name="uq_commitment_requests_transaction"),
        sa.CheckConstraint(_one_of("state", ANSWER_STATES), name="ck_commitment_requests_state"),
    )
    _partial_index("ix_commitment_requests_due", "commitment_requests", ["next_attempt_at"], "state = 'waiting'")


def downgrade() -> None:
    op.drop_table("commitment_requests")
    op.drop_index("ix_artifacts_uid", "artifacts")
    op.drop_index("ix_outbox_transaction", "outbox")
    op.drop_index("ix_outbox_commit", "outbox")
    op.execute("UPDATE outbox SET state = 'sent' WHERE state = 'committed'")
    _allow_states(_DELIVERY_STATES_BEFORE)
    for name in (*_COUNTERS_OF_OUTBOX, *(name for name, _ in _OF_OUTBOX)):
        op.drop_column("outbox", name)


def _allow_states(words: tuple[str, ...]) -> None:
    """SQLite cannot change a constraint: there the table is written anew, and its old constraint is not copied."""
    with op.batch_alter_table("outbox") as outbox:
        if op.get_bind().dialect.name == "postgresql":
            outbox.drop_constraint("ck_outbox_state", type_="check")
        outbox.create_check_constraint("ck_outbox_state", _one_of("state", words))


def _one_of(column: str, words: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
