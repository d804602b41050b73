"""The `triage-agent` command."""

from triage_agent.cli.app import main

__all__ = ["main"]
