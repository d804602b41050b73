"""A name is searched by each of its groups, with the family name first and with the given.

Columns are only added, and may be null. What was searched by before loses its commas; a downgrade leaves that.
"""

import re
import unicodedata
from collections.abc import Mapping
from itertools import zip_longest

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_ADDED = ("given_key", "second_key", "second_given_key", "third_key", "third_given_key")
_NAMES = ("name_key", *_ADDED)
_OTHERS = {"patient_key": "patient_id", "accession_key": "accession_number"}
_AT_A_TIME = 5000
_UNSPACED = re.compile("(?<=[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]) (?=[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff])")


def upgrade() -> None:
    for name in _ADDED:
        op.add_column("studies", sa.Column(name, sa.String(64), nullable=True))
    _fill()
    for key in _ADDED:
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
    names = ("study_instance_uid", "patient_name", *_OTHERS.values(), *_NAMES, *_OTHERS)
    studies = sa.table("studies", *(sa.column(name) for name in names))
    set_keys = sa.update(studies).where(studies.c.study_instance_uid == sa.bindparam("uid"))
    set_keys = set_keys.values({key: sa.bindparam(f"new_{key}") for key in (*_NAMES, *_OTHERS)})
    last = ""
    while rows := bind.execute(
        sa.select(studies)
        .where(studies.c.study_instance_uid > last)
        .order_by(studies.c.study_instance_uid)
        .limit(_AT_A_TIME)
    ).all():
        bind.execute(set_keys, [_keys(row) for row in rows])
        last = rows[-1].study_instance_uid


def _keys(row: sa.Row) -> Mapping[str, str | None]:
    found = {key: _plain(next(iter(_groups(getattr(row, column))), "")) for key, column in _OTHERS.items()}
    found |= _name_keys(row.patient_name)
    return {"uid": row.study_instance_uid, **{f"new_{key}": value for key, value in found.items()}}


def _name_keys(text: str | None) -> dict[str, str | None]:
    """As `domain.reading.name_keys` when this was written."""
    keys: list[str | None] = []
    for group in _groups(text)[:3]:
        family, _, rest = group.partition("^")
        given, _, others = rest.partition("^")
        both = bool(family.strip() and given.strip())
        keys += [_plain(group), _plain(f"{given}^{family}^{others}") if both else None]
    return dict(zip_longest(_NAMES, keys))


def _groups(text: str | None) -> list[str]:
    return [group for group in (text or "").split("=") if group.strip("^ ")]


def _plain(group: str) -> str | None:
    parted = unicodedata.normalize("NFKD", group.replace("^", " ").casefold()).replace(",", " ")
    plain = "".join(sign for sign in parted if not unicodedata.combining(sign))
    return _UNSPACED.sub("", " ".join(plain.split()))[:64].strip() or None


def downgrade() -> None:
    for name in _ADDED:
        op.drop_index(f"ix_studies_{name}", "studies")
        op.drop_column("studies", name)
