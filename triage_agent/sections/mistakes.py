"""What is wrong with a configuration, in one line and in plain words: what, where, how to mend it."""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SECRET = re.compile("password|secret|token|url")  # keys whose value no message repeats
_LONGEST_SHOWN = 80  # characters of a value

_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_FLAG = "must be true or false"
_TABLE = "must be a table of keys"
_PLAIN: Mapping[str, str] = {
    "missing": "is missing; give it a value",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _FLAG),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _TABLE),
    "string_type": "must be text, in quotes",
    "path_type": "must be a path, in quotes",
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list, in [ ]"),
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be below"),
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be above"),
}


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first error that checking a configuration found; `model` is the whole one."""
    return described(error.errors()[0], model)


def described(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """One of its errors."""
    location = problem["loc"]
    place = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place!r}{hint(str(location[-1]), _known_keys(model, location[:-1]))}"
    message = _plain(problem["type"], problem["msg"], problem.get("ctx", {}), problem.get("input"))
    shown = _shown(str(location[-1]) if location else "", problem.get("input"))
    return f"{place}: {message}{shown}" if place else message


def hint(word: str, known: list[str]) -> str:
    """What was probably meant, else what there is."""
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else "; there is none yet"


def _plain(kind: str, message: str, context: Mapping[str, Any], given: object) -> str:
    """Pydantic's error in words for whoever writes the file; its own where there are none."""
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"{words} {context[key]:.10g}"
    special: Mapping[str, Callable[[], str]] = {
        "literal_error": lambda: _choice(context["expected"], given),
        "enum": lambda: _choice(context["expected"], given),
        "too_short": lambda: f"must have at least {context['min_length']}",
        "string_too_short": lambda: f"must have at least {_characters(context['min_length'])}",
        "string_too_long": lambda: f"must have at most {_characters(context['max_length'])}",
    }
    if kind in special:
        return special[kind]()
    return _PLAIN.get(kind, message.removeprefix("Value error, "))


def _choice(expected: str, given: object) -> str:
    """One of a closed set of words, the nearest named."""
    known = re.findall("'([^']*)'", expected)
    if known == [""]:
        return 'must stay "" in this version'
    near = difflib.get_close_matches(str(given).lower(), known, n=1, cutoff=0.7)  # "gpu" is no "cpu"
    return f"must be one of {', '.join(known)}{f'; did you mean {near[0]!r}?' if near else ''}"


def _characters(number: int) -> str:
    return f"{number} character{'' if number == 1 else 's'}"


def _shown(key: str, given: object) -> str:
    if not isinstance(given, str | int | float) or _SECRET.search(key):
        return ""
    if isinstance(given, int) and given.bit_length() > _LONGEST_SHOWN:
        return ""  # Python refuses to write down very long ones
    text = repr(given)
    return f" (it is {text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '...'})"


def _known_keys(model: Any, location: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at `location` may have."""
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            model = next(
                (arg for arg in getattr(annotation, "__args__", ()) if hasattr(arg, "model_fields")), annotation
            )
    return [field.alias or name for name, field in model.model_fields.items()]
