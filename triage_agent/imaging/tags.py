"""Reading header values that may be absent, empty or malformed, without warnings and without surprises."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.multival import MultiValue
from pydicom.uid import UID

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.domain.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

_REASON_LENGTH = 160


@contextmanager
def unreadable_on_failure(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into one line that begins with `what`.

    Raises:
        UnreadableImageError: always when the block fails, also for MemoryError and RecursionError.
    """
    try:
        with quiet():
            yield
    except UnreadableImageError:
        raise
    except Exception as error:  # codecs and the parser raise anything; none of it may end a worker
        raise UnreadableImageError(f"{what} ({one_line(error)})") from error


def one_line(error: BaseException) -> str:
    """The last thing an error says, printable, on one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # What a TypeError says is about somebody's code, not about the file.
    said = "" if isinstance(error, TypeError) else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    text = _printable(text)
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())


def values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an element; empty when it is absent, empty, or cannot be converted."""
    try:
        with quiet():
            value = header.get(keyword)
    except Exception:  # noqa: BLE001 - lazy conversion of a malformed value raises anything
        return ()
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        return (value,) if value else ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(value)
    return (value,)


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as stripped, printable text; empty ones stay, so that positions keep their meaning (Image Type)."""
    return tuple(_printable(str(value)).strip() for value in values(header, keyword))


def text(header: Dataset, keyword: str) -> str:
    """The first value as stripped text, or nothing."""
    found = texts(header, keyword)
    return found[0] if found else ""


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as finite numbers; empty unless every one is."""
    try:
        found = tuple(float(value) for value in values(header, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()
    return found if np.isfinite(found).all() else ()


def number(header: Dataset, keyword: str) -> float | None:
    """The first value as a finite number, or None."""
    found = numbers(header, keyword)
    return found[0] if found else None


def integer(header: Dataset, keyword: str) -> int | None:
    """The first value as a whole number, or None."""
    found = number(header, keyword)
    return int(found) if found is not None and found == int(found) else None


def items(header: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """A sequence's items; empty when it is absent or no sequence."""
    try:
        with quiet():
            value = header.get(keyword)
            return tuple(value) if value is not None and not isinstance(value, str | bytes) else ()
    except Exception:  # noqa: BLE001 - as in `values`
        return ()


def uid_name(identifier: str) -> str:
    """The standard's name of a UID; the identifier itself where it has none, also when that is no UID."""
    with quiet():
        return UID(identifier).name


def is_little_endian(header: Dataset) -> bool:
    """Byte order of the data set as it was encoded; little where that is not known."""
    return getattr(header, "original_encoding", (None, None))[1] is not False
