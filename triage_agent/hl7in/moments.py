"""When something was, as HL7 writes it (TS, HL7 v2.5.1 chapter 2A)."""

import re
from datetime import datetime, timedelta, timezone

_STATED = re.compile(r"([0-9]{14})(?:\.([0-9]{1,6})[0-9]*)?([+-][0-9]{4})?")
_LARGEST_OFFSET = timedelta(hours=24)


def moment_of(stated: str | None) -> datetime | None:
    """A moment that is stated to the second; without a zone it is of this machine's.

    None where it is less exact, no date, or in the hour that there is twice when clocks are set back.
    """
    found = _STATED.fullmatch(stated or "")
    if found is None:
        return None
    digits, fraction, zone = found.groups()
    try:
        at = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 - its zone follows
        at = at.replace(microsecond=int((fraction or "").ljust(6, "0")))
        if zone is not None:
            return at.replace(tzinfo=_zone(zone))
        first, second = (at.replace(fold=fold).astimezone() for fold in (0, 1))
    except (ValueError, OverflowError, OSError):
        return None
    return first if first.utcoffset() == second.utcoffset() else None


def _zone(stated: str) -> timezone:
    offset = timedelta(hours=int(stated[1:3]), minutes=int(stated[3:]))
    if offset >= _LARGEST_OFFSET:
        raise ValueError("no zone is so far away")
    return timezone(-offset if stated[0] == "-" else offset)
