"""Who reads which study, and what the readers' list is searched by.

Columns are only added, and may be null: nobody has claimed or read what was there before.
"""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_COLUMNS = {
    "claimed_by": sa.String(200),
    "claimed_at": _TIME,
    "read_by": sa.String(200),
    "read_at": _TIME,
    "name_key": sa.String(64),
    "patient_key": sa.String(64),
    "accession_key": sa.String(64),
}
_KEYS = {"name_key": "patient_name", "patient_key": "patient_id", "accession_key": "accession_number"}
_AT_A_TIME = 5000


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.add_column("studies", sa.Column(name, kind, nullable=True))
    _fill()
    sqlite = op.get_bind().dialect.name == "sqlite"
    probability = "probability DESC" if sqlite else "probability DESC NULLS LAST"
    best_first = [sa.text("priority DESC"), sa.text(probability), "received_at", "study_instance_uid"]
    unread = sa.text("read_at IS NULL")
    op.create_index("ix_studies_unread", "studies", best_first, sqlite_where=unread, postgresql_where=unread)
    op.create_index("ix_studies_region", "studies", ["anatomy", *best_first])
    for key in _KEYS:
        where = sa.text(f"{key} IS NOT NULL")
        op.create_index(
            f"ix_studies_{key}",
            "studies",
            [key],
            sqlite_where=where,
            postgresql_where=where,
            postgresql_ops={key: "text_pattern_ops"},
        )


def _fill() -> None:
    bind = op.get_bind()
    studies = sa.table("studies", *(sa.column(name) for name in ("study_instance_uid", *_KEYS, *_KEYS.values())))
    last = ""
    while rows := bind.execute(
        sa.select(studies)
        .where(studies.c.study_instance_uid > last)
        .order_by(studies.c.study_instance_uid)
        .limit(_AT_A_TIME)
    ).all():
        for row in rows:
            keys = {key: _key(getattr(row, column)) for key, column in _KEYS.items()}
            same = studies.c.study_instance_uid == row.study_instance_uid
            bind.execute(sa.update(studies).where(same).values(**keys))
        last = rows[-1].study_instance_uid


def _key(text: str | None) -> str | None:
    """As `domain.reading.search_key` when this was written."""
    first = next((group for group in (text or "").split("=") if group.strip("^ ")), "")
    parted = unicodedata.normalize("NFKD", first.replace("^", " ").casefold())
    plain = "".join(sign for sign in parted if not unicodedata.combining(sign))
    return " ".join(plain.split())[:64] or None


def downgrade() -> None:
    for name in ("ix_studies_unread", "ix_studies_region", *(f"ix_studies_{key}" for key in _KEYS)):
        op.drop_index(name, "studies")
    for name in _COLUMNS:
        op.drop_column("studies", name)
