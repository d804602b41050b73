"""`withdraw`: a study's result objects are taken back where they went."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from triage_agent.builders import open_worklist
from triage_agent.cli import remarks
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout, tell
from triage_agent.cli.worklist import STUDY, uid_of
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.settings import load_settings

_BY = "cli"


def withdraw(
    name: Annotated[str, STUDY],
    reason: Annotated[RejectionReason, typer.Option(help="The title of the rejection note.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a study's result objects back: a rejection note goes to each destination that has some."""
    from triage_agent.results.rejection import is_known, rejection_notes

    settings = load_settings(config)
    queue = open_worklist(settings)
    uid, now = uid_of(queue, name), datetime.now(UTC)
    objects = queue.objects_of(uid)
    notes = rejection_notes(uid, objects, reason, now)
    count = queue.withdraw(uid, notes, objects, reason=reason, actor=_BY, now=now)
    if as_json:
        print_json({"notes": count, "destinations": [note.destination for note in notes] if count else []})
    else:
        stdout.print(f"{count} rejection notes wait to be sent" if count != 1 else "1 rejection note waits to be sent")
    if not count:
        tell("what it has sent is withdrawn already" if objects else "no DICOM object of it was sent, or waits to be")
    if unknown := {one.artifact.uid for one in objects if not is_known(one.artifact)}:
        tell(f"{len(unknown)} objects were let go with their originals by an older version: withdraw them at the PACS")
    if (detail := queue.study(uid)) is not None:
        for line in remarks.unrouted(detail, {route.to for route in settings.routes}):
            tell(line)
