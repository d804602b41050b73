"""Where figures were measured, on what, when, of which commit, by which command: stands in each file of a benchmark."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEY = "made"


def note(arguments=None):
    """For this machine and this run."""
    named = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("BENCH_")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "python": platform.python_version(),
        "commit": _commit(),
        "command": " ".join([*named, "python -m pytest", *(sys.argv[1:] if arguments is None else arguments)]),
    }


def stamp(folder, since, made):
    """Put the note into every JSON object of `folder` that was written since then, by time.time()."""
    for file in sorted(folder.glob("*.json")):
        if file.stat().st_mtime < since:
            continue
        document = json.loads(file.read_text())
        if isinstance(document, dict):
            file.write_text(json.dumps({KEY: made} | document, indent=1) + "\n")


def _cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _commit():
    """Of the tree that was measured; "+" where it had changes that no commit has."""
    try:
        said = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
