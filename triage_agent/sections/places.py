"""Where a site may keep things."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

_KERNEL_S = ("/proc", "/sys", "/dev")  # made by the kernel: nothing can be kept there
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a disk of its kind, which `check` warns of


def _folder(given: object) -> object:
    """Refuse what pydantic takes for the present folder, and where nothing can be kept.

    Only the name is looked at: a file system that hangs must not keep a configuration from being read.
    """
    if not isinstance(given, str | Path):
        return given
    if not str(given).strip():
        raise ValueError("must not be empty; name a folder")
    place = Path(os.path.abspath(given))  # noqa: PTH100 - takes ".." away, without asking the file system
    if place.is_relative_to(_SHARED_MEMORY):
        return given
    for kernel_s in _KERNEL_S:
        if place.is_relative_to(kernel_s):
            raise ValueError(f"nothing can be kept under {kernel_s}; name a folder on a disk")
    return given


Folder = Annotated[Path, BeforeValidator(_folder)]
