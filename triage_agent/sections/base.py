"""What tables of the configuration have in common."""

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator

_FILE_SUFFIX = "_file"  # any secret `x` can be given as `x_file`, a path whose content it is
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
YEAR = 365 * 86400.0  # seconds; no wait is longer, and dates can be reckoned with it


class Section(BaseModel):
    """A table of the configuration; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:
        """Refuse `port = true`, which pydantic takes for 1."""
        for key, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(str(key))
            if isinstance(value, bool) and field is not None and not _may_be_flag(field.annotation):
                raise ValueError(f"{key} is not true or false; give it a value")
        return values

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: Any) -> Any:
        """Replace each `x_file` whose `x` is a key of this table by the file's content.

        Where `x` is the name of a file already, `x_file` would put a private key into a message.
        """
        if not isinstance(values, dict):
            return values
        read = dict(values)
        for key in values:
            name = str(key).removesuffix(_FILE_SUFFIX)
            if key not in cls.model_fields and name in cls.model_fields and name != key:
                if _is_path(cls.model_fields[name].annotation):
                    raise ValueError(f"{key}: write {name}, which is the name of a file")
                read[name] = _file_content(read.pop(key))
        return read


def _may_be_flag(annotation: Any) -> bool:
    return annotation is bool or bool in getattr(annotation, "__args__", ())


def _is_path(annotation: Any) -> bool:
    return annotation is Path or any(_is_path(one) for one in get_args(annotation))


def _file_content(path: object) -> str:
    if not isinstance(path, str | Path):
        raise ValueError(f"{path!r} is not the name of a file")  # noqa: TRY004 - what pydantic takes for a wrong value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; name a readable file") from None
    except ValueError:
        raise ValueError(f"{path!r} does not name a text file") from None
