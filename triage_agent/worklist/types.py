"""How values of the domain lie in columns, the same on SQLite and Postgres."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import DateTime, Dialect, Enum, SmallInteger, String
from sqlalchemy.types import TypeDecorator

from triage_agent.domain.vocabulary import Priority

_Words = TypeVar("_Words", bound=StrEnum)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, in and out; a naive one is refused.

    SQLite keeps no zone: there the column holds UTC as text that sorts by time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be kept: {value.isoformat()}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, SQLAlchemy's signature
        """From the database: aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class RankedPriority(TypeDecorator[Priority]):
    """A priority as its rank, so that the database can sort and compare it."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: Priority | None, dialect: Dialect) -> int | None:  # noqa: ARG002, SQLAlchemy's signature
        """To the database: the rank."""
        return None if value is None else Priority(value).rank

    def process_result_value(self, value: int | None, dialect: Dialect) -> Priority | None:  # noqa: ARG002, SQLAlchemy's signature
        """From the database: the word."""
        return None if value is None else list(Priority)[value]


class FittedText(TypeDecorator[str]):
    """Text cut to its column: what a modality sends must never be why an instance is refused.

    Postgres takes neither NUL nor more characters than the column has, and no driver takes a lone surrogate.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002, SQLAlchemy's signature
        """To the database: what fits."""
        if value is None:
            return None
        encodable = value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
        return encodable[: getattr(self.impl, "length", None)]


def words(enum: type[_Words], length: int = 24) -> Enum:
    """A closed set of words as text; the migration adds the CHECK where the set is closed for good."""
    return Enum(
        enum,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
        validate_strings=True,
    )
