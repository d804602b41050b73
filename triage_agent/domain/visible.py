"""Foreign text made safe to show: no terminal, log or list obeys what a header, a peer or a file name says."""

import re

# Control characters (ESC and the one-byte CSI among them), line and paragraph separators, and what turns the direction
# of text, by which a line can be made to read as another. Marks that Arabic and Hebrew names need are not among them.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# What a spreadsheet would run; the wide signs, too, for one of another country.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def visible(text: str) -> str:
    """`text` with every unsafe character written as an escape."""
    return UNSAFE.sub(lambda found: _escape(ord(found[0])), text)


def harmless(text: str) -> str:
    """`text` for a cell of a table: what a spreadsheet would take for a formula has a ' before it, besides."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _escape(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"  # noqa: PLR2004 - a byte
