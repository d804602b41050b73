"""`serve` and `check`: the agent, and whether it would work."""

import signal
from enum import StrEnum
from typing import Annotated

import structlog
import typer

from triage_agent.cli.options import ConfigOption, JsonOption, keep_private, print_json, stdout
from triage_agent.domain.visible import visible
from triage_agent.settings import load_settings

log = structlog.get_logger(__name__)

_STYLES = {"ok  ": "", "WARN": "yellow", "FAIL": "red"}


class Role(StrEnum):
    """What one process does."""

    ALL = "all"
    LISTENER = "listener"
    WORKER = "worker"
    WEB = "web"


def serve(
    config: ConfigOption = None,
    role: Annotated[Role, typer.Option(help="What this process does.")] = Role.ALL,
) -> None:
    """Run the agent until SIGTERM, then finish or give back what it holds. SIGHUP: read the certificates again."""
    from triage_agent.bootstrap import build_agent
    from triage_agent.ops.asked import Asked
    from triage_agent.ops.logging import configure_logging

    settings = load_settings(config)
    keep_private()
    configure_logging(settings.logging.format, settings.logging.level)
    asked = Asked()
    for number in (signal.SIGTERM, signal.SIGINT):
        asked.on(number, "stop")
    asked.on(signal.SIGHUP, "reload")
    with build_agent(settings, role.value) as agent:
        while asked.next() != "stop":
            agent.reload()
        log.info("stopping", role=role.value)
    log.info("stopped", role=role.value)  # without these two lines at its end, a process did not end by itself


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Whether the configuration works: a line for each part, and what to do; exit 1 if a part does not."""
    from triage_agent.cli.doctor import examine
    from triage_agent.ops.logging import configure_logging

    configure_logging(level="error")  # the findings say it
    findings = examine(load_settings(config))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            line = f"{finding.word}  {finding.part}: {finding.says}"
            stdout.print(
                visible(f"{line}; {finding.remedy}" if finding.remedy else line),
                style=_STYLES[finding.word],
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
