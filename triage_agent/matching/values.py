"""What a value must be like for a key to match: by its VR single values, lists of UIDs, wildcards and ranges. Pure.

PS3.4 sections C.2.2.2.1 to C.2.2.2.5.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TypeAlias

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.uids import is_uid

Fits: TypeAlias = Callable[[str], bool]

_WILDCARDS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})  # section C.2.2.2.4
_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"([0-9]{2}){1,3}(\.[0-9]{1,6})?")
# A hyphen and four digits up to 1400 are an offset from UTC, not a year (PS3.5 section 6.2, DT).
_OFFSET = r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_MOMENT = rf"([0-9]{{4}}(?:[0-9]{{2}}){{0,5}}(?:\.[0-9]{{1,6}})?)({_OFFSET})?"
_MOMENTS = re.compile(rf"(?:{_MOMENT})?(-)?(?:{_MOMENT})?")
_FIRST_TIME, _LAST_TIME = "000000.000000", "235959.999999"
_FIRST_PARTS = (1, 1, 1, 0, 0, 0)  # of a year
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def condition(keyword: str, vr: str, text: str, zone: tzinfo = UTC) -> Fits | None:  # noqa: PLR0911 - a table
    """What a value must be like; None for universal matching (section C.2.2.2.3).

    `zone` is that of moments without an offset of their own.

    Raises:
        InvalidDatasetError: the text is not as the VR wants it.
    """
    if not text or (vr in _WILDCARDS and not text.strip("*")):
        return None
    if vr == "UI":
        return _one_of(keyword, text)
    if vr in {"DA", "TM"}:
        return _within(keyword, vr, text)
    if vr == "DT":
        return _at_moments(keyword, text, zone)
    if vr == "PN":
        return _person(text)
    wanted = [one.strip() for one in text.split("\\")]
    if vr in _WILDCARDS:
        return lambda value: any(is_like(value.strip(), one) for one in wanted)
    return lambda value: value.strip() in wanted


def is_plain(vr: str, text: str) -> bool:
    """Whether a key's values are what a value must be, letter for letter."""
    if vr in {"DA", "DT", "TM", "PN"}:
        return False
    return vr not in _WILDCARDS or not set(text) & set("*?")


def _one_of(keyword: str, text: str) -> Fits:
    wanted = frozenset(one.strip("\0 ") for one in text.split("\\"))
    if not all(is_uid(one) for one in wanted):
        raise InvalidDatasetError(f"{keyword} is no UID")
    return wanted.__contains__


@dataclass(frozen=True, slots=True)
class Range:
    """Two ends as they are written, both of them counting; an empty one is open."""

    first: str
    last: str


def read_range(keyword: str, vr: str, text: str) -> tuple[Range, bool]:
    """A date or time, or a range of them, and whether it is a range.

    Raises:
        InvalidDatasetError: it is neither.
    """
    plain = text.replace(".", "") if vr == "DA" else text.replace(":", "")
    first, dash, last = (part.strip() for part in plain.partition("-"))
    form = _DATE if vr == "DA" else _TIME
    if not (first or last) or not all(form.fullmatch(one) for one in (first, last) if one):
        raise InvalidDatasetError(f"{keyword} is no {vr} and no range of them")
    return Range(first, last if dash else first), bool(dash)


def _within(keyword: str, vr: str, text: str) -> Fits:
    """A value or a range of them; times to the precision that is given (section C.2.2.2.5)."""
    (wanted, _) = read_range(keyword, vr, text)
    if vr == "DA":
        return lambda value: (not wanted.first or wanted.first <= value) and (not wanted.last or value <= wanted.last)
    low, high = earliest(wanted.first), latest(wanted.last)
    return lambda value: low <= earliest(value) <= high


def earliest(time: str) -> str:
    """The first moment that a time can mean."""
    return time + _FIRST_TIME[len(time) :]


def latest(time: str) -> str:
    """The last moment that a time can mean; of none, of the day."""
    return time + _LAST_TIME[len(time) :]


def _at_moments(keyword: str, text: str, zone: tzinfo) -> Fits:
    """A date and time or a range of them, each meaning as much as it says (section C.2.2.2.5.3)."""
    read = _MOMENTS.fullmatch(text)
    if read is None or not (read[1] or read[4]) or (read[4] and not read[3]):
        raise InvalidDatasetError(f"{keyword} is no DT and no range of them")
    try:
        low = _span(read[1], read[2], zone)[0] if read[1] else _EARLIEST
        high = _span(read[4], read[5], zone)[1] if read[4] else _LATEST
        if not read[3]:
            low, high = _span(read[1], read[2], zone)
    except ValueError as error:
        raise InvalidDatasetError(f"{keyword} is no date") from error

    def fits(value: str) -> bool:
        found = _MOMENTS.fullmatch(value)
        if found is None or not found[1] or found[3] or found[4]:
            return False
        try:
            first, _ = _span(found[1], found[2], zone)
        except ValueError:
            return False
        return low <= first <= high

    return fits


def _span(digits: str, offset: str | None, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first and the last moment that a DT can mean.

    Raises:
        ValueError: there is no such moment.
    """
    numbers, _, fraction = digits.partition(".")
    parts = [int(numbers[:4]), *(int(numbers[at : at + 2]) for at in range(4, len(numbers), 2))]
    if fraction and len(parts) < len(_FIRST_PARTS):
        raise ValueError("a fraction of what is no second")
    year, month, day, hour, minute, second = [*parts, *_FIRST_PARTS[len(parts) :]]
    when = timezone(_minutes(offset)) if offset else zone
    part = int(fraction.ljust(6, "0")) if fraction else 0
    first = datetime(year, month, day, hour, minute, min(second, 59), part, tzinfo=when)  # 60 is a leap second
    try:
        return first, _end(first, len(parts), len(fraction))
    except OverflowError as error:
        raise ValueError("after the last year") from error


def _end(first: datetime, parts: int, digits: int) -> datetime:
    """The last moment of a year, a month, a day, an hour, a minute, a second, or a part of one."""
    if parts == 1:
        after = first.replace(year=first.year + 1)
    elif parts == 2:  # noqa: PLR2004 - year and month
        after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    else:
        lengths = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=10.0**-digits))
        after = first + lengths[parts - 3]
    return after - timedelta(microseconds=1)


def _minutes(offset: str) -> timedelta:
    sign = -1 if offset[0] == "-" else 1
    return sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))


def read_offset(text: str) -> tzinfo:
    """Timezone Offset From UTC (0008,0201); what is none is UTC."""
    return timezone(_minutes(text)) if re.fullmatch(_OFFSET, text) else UTC


def _person(text: str) -> Fits:
    """Any of the name's groups, or where groups are asked for each its own; case does not matter (section 6.2.1.2)."""
    wanted = [_name(group) for group in text.split("=")]
    if len(wanted) == 1:
        return lambda value: any(is_like(_name(group), wanted[0]) for group in value.split("=") if group)

    def fits(value: str) -> bool:
        groups = [_name(group) for group in value.split("=")] + [""] * len(wanted)
        return all(not one or is_like(group, one) for group, one in zip(groups, wanted, strict=False))

    return fits


def _name(group: str) -> str:
    return group.strip().rstrip("^").strip().casefold()


def is_like(value: str, pattern: str) -> bool:
    """Whether a value is what a pattern with "*" and "?" asks for; in time of their lengths' product at most."""
    at = place = 0
    star, resumed = -1, 0
    while at < len(value):
        if place < len(pattern) and pattern[place] == "*":
            star, resumed = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in {"?", value[at]}:
            at, place = at + 1, place + 1
        elif star >= 0:  # the last "*" takes one character more
            resumed += 1
            at, place = resumed, star + 1
        else:
            return False
    return not pattern[place:].strip("*")
