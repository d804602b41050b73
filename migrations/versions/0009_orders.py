"""Orders, as a RIS tells of them; studies are found by their patient, and by when they came."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ORDER_STATES = ("scheduled", "cancelled", "completed")

_TIME = sa.DateTime(timezone=True)
_SURROGATE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXTS = {
    "placer_order_number": 64,
    "filler_order_number": 64,
    "accession_number": 64,
    "study_instance_uid": 64,
    "patient_id": 64,
    "issuer_of_patient_id": 64,
    "patient_name": 324,
    "patient_birth_date": 8,
    "patient_sex": 16,
    "patient_class": 16,
    "patient_location": 200,
    "admission_id": 64,
    "requested_procedure_id": 64,
    "procedure_code": 64,
    "procedure_coding_scheme": 64,
    "procedure_description": 200,
    "indication": 1000,
    "referring_physician": 324,
    "ordering_physician": 324,
    "scheduled_date": 8,
    "scheduled_time": 6,
    "scheduled_step_id": 64,
    "scheduled_station_ae_title": 64,
    "scheduled_station_name": 64,
    "modality": 16,
}
_LOOKED_UP_BY = {
    "ix_orders_filler": "filler_order_number",
    "ix_orders_placer": "placer_order_number",
    "ix_orders_accession": "accession_number",
    "ix_orders_study": "study_instance_uid",
    "ix_orders_here": "study_here",
    "ix_orders_patient": "patient_id",
}


def upgrade() -> None:
    states = ", ".join(f"'{state}'" for state in ORDER_STATES)
    op.create_table(
        "orders",
        sa.Column("id", _SURROGATE, primary_key=True),
        *(sa.Column(name, sa.String(length), nullable=True) for name, length in _TEXTS.items()),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("study_here", sa.String(64), nullable=True),
        sa.Column("control_id", sa.String(200), nullable=False),
        sa.Column("sender", sa.String(200), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.CheckConstraint(f"status IN ({states})", name="ck_orders_status"),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name="ck_orders_priority"),
    )
    for name, column in _LOOKED_UP_BY.items():
        _known_index(name, "orders", column)
    op.create_index("ix_orders_changed", "orders", ["changed_at"])
    op.create_index("ix_orders_scheduled", "orders", ["scheduled_date"])
    op.add_column("studies", sa.Column("merged", sa.JSON, nullable=True))
    _known_index("ix_studies_patient", "studies", "patient_id")
    op.create_index("ix_studies_received", "studies", ["received_at"])
    op.add_column("outbox", sa.Column("raises_to", sa.SmallInteger, nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "raises_to")
    op.drop_index("ix_studies_received", "studies")
    op.drop_index("ix_studies_patient", "studies")
    op.drop_column("studies", "merged")
    op.drop_table("orders")


def _known_index(name: str, table: str, column: str) -> None:
    known = sa.text(f"{column} IS NOT NULL")
    op.create_index(name, table, [column], sqlite_where=known, postgresql_where=known)
