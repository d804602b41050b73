"""Puts configuration and migrations into the wheel; an editable install finds them in the repository."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface):  # type: ignore[type-arg]
    """`config/` and `migrations/` beside the code of an installed agent."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds; `version` is "standard" or "editable"."""
        if version == "standard":
            for folder in ("config", "migrations"):
                build_data["force_include"][folder] = f"triage_agent/_share/{folder}"
