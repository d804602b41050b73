"""TOML with line numbers: where a key stands, and where a document stops to be one.

`tomllib` gives no lines, so it is asked: a document cut off behind a line is read again, and the least such part that
has a key ends where the key's statement ends. That takes a dozen readings a question, and agrees with `tomllib` by
construction, which no second reader of TOML would.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from triage_agent.domain.errors import ProblemsError

KeyPath = tuple[str | int, ...]
"""Keys and places in lists, from the document down."""

_AT = re.compile(r"\s*\((?:at line (\d+), column \d+|at end of document)\)\s*$")


class Document:
    """What was read of a text; lines count from 1."""

    def __init__(self, text: str, where: str) -> None:
        """Read it.

        Raises:
            ProblemsError: it is no TOML; the message names `where` and the line.
        """
        self._lines = text.split("\n")
        self.where = where
        try:
            self.values = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            line, why = self._broken(error)
            raise ProblemsError(where, [(line, f"not TOML: {why}; mend that line")]) from None
        self._ends: dict[int, int] = {}
        self._part = lru_cache(maxsize=32)(self._read)  # neighbouring keys ask for the same parts

    def line_of(self, path: KeyPath) -> int:
        """Where the statement begins that first gives `path`, or the deepest part of it that is there; 1 for none."""
        while path and not _has(self.values, path):
            path = path[:-1]
        if not path:
            return 1
        count = _least(len(self._lines), lambda count: _has(self._part(self._end(count)), path))
        begins = self._end(count)
        while begins > 1 and self._end(begins - 1) != begins - 1:
            begins -= 1
        return begins

    def _end(self, count: int) -> int:
        """The first so many lines, or as many more as make a document; the whole always does."""
        if count not in self._ends:
            end = count
            while end not in self._ends and self._read(end) is None:
                end += 1
            self._ends |= dict.fromkeys(range(count, end + 1), self._ends.get(end, end))
        return self._ends[count]

    def _read(self, count: int) -> dict[str, Any] | None:
        try:
            return tomllib.loads("\n".join(self._lines[:count]))
        except tomllib.TOMLDecodeError:
            return None

    def _broken(self, error: Exception) -> tuple[int, str]:
        """Where reading stopped, and why."""
        if isinstance(error, tomllib.TOMLDecodeError):
            found = _AT.search(str(error))
            line = int(found[1]) if found and found[1] else len(self._lines)
            return min(line, len(self._lines)), _AT.sub("", str(error))
        # A number with thousands of digits, or brackets in brackets: no word of TOML's, and no line is named.
        kind = type(error)
        line = _least(len(self._lines), lambda count: self._fails_alike(count, kind))
        return line, "nested too deeply" if kind is RecursionError else "a value that cannot be read"

    def _fails_alike(self, count: int, kind: type[Exception]) -> bool:
        try:
            tomllib.loads("\n".join(self._lines[:count]))
        except (ValueError, RecursionError) as error:
            return type(error) is kind
        return False


def _least(most: int, holds: Callable[[int], bool]) -> int:
    """The least number from 1 on for which it holds, where it holds for all above it and for `most`."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _has(values: Any, path: Sequence[str | int]) -> bool:
    for key in path:
        if isinstance(key, int):
            if not isinstance(values, list) or len(values) <= key:
                return False
        elif not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
