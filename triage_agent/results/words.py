"""A report as it came back from a PACS, in words: the content tree of any SR, a line an item (PS3.3 C.17.3)."""

from collections.abc import Iterator

from pydicom import Dataset

# What identifies language, procedure, observer and algorithm: the header's matter, said once by the bundle's comment.
_LEFT_OUT = frozenset(
    {"121049", "121058", "121005", "121012", "121013", "121014", "121015", "121016", "121017"}  # TID 1204, 1001, 1004
    | {"111000", "111001", "111002", "111003", "122405"}  # TID 4019
)


def report_in_words(report: Dataset) -> list[str]:
    """One line for each coded, numeric or text item below the root, indented by depth; header matter left out."""
    return list(_lines(report.get("ContentSequence", ()), 0))


def _lines(items: list[Dataset], depth: int) -> Iterator[str]:
    for item in items:
        name = _meaning(item.get("ConceptNameCodeSequence"))
        code = _value_of_code(item.get("ConceptNameCodeSequence"))
        if code in _LEFT_OUT:
            continue
        value = _value(item)
        children = list(_lines(item.get("ContentSequence", ()), depth + 1))
        if value or children:
            yield "  " * depth + (f"{name}: {value}" if value else name)
        yield from children


def _value(item: Dataset) -> str:
    match item.get("ValueType"):
        case "CODE":
            return _meaning(item.get("ConceptCodeSequence"))
        case "TEXT":
            return str(item.get("TextValue", ""))
        case "NUM":
            measured = item.get("MeasuredValueSequence") or [Dataset()]
            unit = _value_of_code(measured[0].get("MeasurementUnitsCodeSequence"))
            return f"{measured[0].get('NumericValue', '')} {'' if unit == '1' else unit}".strip()
        case _:
            return ""


def _meaning(codes: list[Dataset] | None) -> str:
    return str(codes[0].get("CodeMeaning", "")) if codes else ""


def _value_of_code(codes: list[Dataset] | None) -> str:
    return str(codes[0].get("CodeValue", "")) if codes else ""
