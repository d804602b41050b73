"""`conformance`: what this installation speaks, for whoever connects something with it."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from triage_agent.cli.options import ConfigOption, JsonOption, print_json, tell
from triage_agent.domain.errors import TriageError
from triage_agent.settings import load_settings


class Format(StrEnum):
    """How the statement is written."""

    MARKDOWN = "markdown"
    HTML = "html"


_OF_SUFFIX = {".md": Format.MARKDOWN, ".markdown": Format.MARKDOWN, ".html": Format.HTML, ".htm": Format.HTML}


def conformance(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write it to; else stdout.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="By default what the name of the file says, else Markdown.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the DICOM conformance statement and the HL7 profile of this installation, from its configuration."""
    from triage_agent.conformance.statement import build_statement
    from triage_agent.conformance.writing import as_html, as_markdown

    if as_json and (out is not None or form is not None):
        raise typer.BadParameter("--json goes to stdout: leave --out and --format out")
    document = build_statement(load_settings(config))
    if as_json:
        print_json(document)
        return
    chosen = form or (_OF_SUFFIX.get(out.suffix.lower(), Format.MARKDOWN) if out is not None else Format.MARKDOWN)
    text = as_html(document) if chosen is Format.HTML else as_markdown(document)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TriageError(f"{out}: {error.strerror}", remedy="name a file that can be written") from None
    tell(f"{out}: {chosen.value}, {len(text.splitlines())} lines")
