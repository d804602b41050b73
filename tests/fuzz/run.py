"""Fuzz one target: `python tests/fuzz/run.py TARGET [--seconds N] [--runs N] [--seed N] [--out FOLDER] [--plain]`.

With atheris (extra `fuzz`) it is guided by coverage; without it, or with `--plain`, mutations are blind. What fails is
left in the folder, and given back to a target as a file by `--replay`.
"""

import argparse
import importlib
import sys
import time
import warnings
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_LIBRARIES = {
    "pdu": ("triage_agent.dimse", "pynetdicom"),
    "intake": ("triage_agent.intake",),
    "decode": ("triage_agent.imaging", "pydicom"),
    "hl7": ("triage_agent.delivery",),
    "stow": ("triage_agent.web", "triage_agent.intake", "python_multipart"),
    "answers": ("triage_agent.delivery",),
    "workitems": ("triage_agent.steps", "triage_agent.matching"),
    "orders": ("triage_agent.hl7in",),
}


def main():
    """Exit with 0 where nothing was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=sorted(_LIBRARIES))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--replay", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    atheris = None if asked.plain or asked.replay else _atheris()
    if atheris is None:
        from fuzz import targets, web_targets  # noqa: PLC0415 - after the path is set
    else:
        with atheris.instrument_imports(include=list(_LIBRARIES[asked.target])):
            targets, web_targets = (importlib.import_module(name) for name in ("fuzz.targets", "fuzz.web_targets"))
    _quiet_log()
    with targets.workplace() as folder:
        target = {**targets.TARGETS, **web_targets.TARGETS}[asked.target](Path(folder))
        try:
            if asked.replay:
                target(asked.replay.read_bytes())
            elif atheris is None:
                _blindly(target, asked)
            else:
                _guided(atheris, target, asked, Path(folder))
        finally:
            target.close()


def _atheris():
    try:
        return importlib.import_module("atheris")
    except ImportError:
        return None


def _quiet_log():
    warnings.simplefilter("ignore")
    import structlog  # noqa: PLC0415 - as above

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))


def _blindly(target, asked):
    from fuzz.mutate import inputs  # noqa: PLC0415 - as above

    until, count = time.monotonic() + asked.seconds, 0
    for data in islice(inputs(target.seeds(), asked.seed), asked.runs):
        if time.monotonic() > until:
            break
        try:
            target(data)
        except BaseException:
            (asked.out / f"crash-{asked.target}").write_bytes(data)
            raise
        count += 1
    sys.stdout.write(f"{asked.target}: {count} inputs, nothing found\n")


def _guided(atheris, target, asked, folder):
    """libFuzzer's loop, which ends the process itself."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(data)
    options = {
        "max_total_time": int(asked.seconds),
        "seed": asked.seed,
        "timeout": 60,
        "rss_limit_mb": 4096,
        "max_len": 1 << 17,
        "print_final_stats": 1,
        "artifact_prefix": f"{asked.out}/{asked.target}-",
    }
    if asked.runs is not None:
        options["runs"] = asked.runs
    atheris.Setup([sys.argv[0], str(corpus), *(f"-{name}={value}" for name, value in options.items())], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
