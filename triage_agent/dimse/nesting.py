"""How deep an encoded data set goes, found out without reading it: pydicom goes down recursively, in quadratic time."""

from struct import Struct

from pydicom.uid import UID

_ITEM, _ITEM_ENDS, _SEQUENCE_ENDS = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_HEADER = 8  # bytes of tag and length; where the length is long, of tag, VR and two that are reserved


def nests_deeper(content: memoryview, syntax: UID, most: int) -> bool:
    """Whether sequences stand in one another more than `most` times (PS3.5 sections 7.1 and 7.5).

    Goes through the elements once. What it cannot follow counts as no deeper: whoever reads it then finds it broken.
    """
    mark = "<" if syntax.is_little_endian else ">"
    tag, short, long = Struct(f"{mark}HH"), Struct(f"{mark}H"), Struct(f"{mark}I")
    ends: list[int] = []  # of the sequences that are open
    position = 0
    while position + _HEADER <= len(content):
        while ends and position >= ends[-1]:
            ends.pop()
        found = tag.unpack_from(content, position)
        kind = bytes(content[position + 4 : position + 6])
        (length,) = long.unpack_from(content, position + 4)
        position += _HEADER
        if found in {_ITEM, _ITEM_ENDS, _SEQUENCE_ENDS}:  # never with a VR
            if found == _SEQUENCE_ENDS and ends:
                ends.pop()
            continue
        if not syntax.is_implicit_VR:
            if kind in _LONG:
                if position + 4 > len(content):
                    break
                (length,) = long.unpack_from(content, position)
                position += 4
            else:
                (length,) = short.unpack_from(content, position - 2)
        if length == _UNDEFINED or _begins_with_item(content, position, tag):
            ends.append(len(content) if length == _UNDEFINED else position + length)
            if len(ends) > most:
                return True
            continue
        position += length
    return False


def _begins_with_item(content: memoryview, position: int, tag: Struct) -> bool:
    return position + tag.size <= len(content) and tag.unpack_from(content, position) == _ITEM
