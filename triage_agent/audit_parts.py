"""What loops, commands and pages of the audit log have in common, from the settings."""

import socket
from collections.abc import Sequence
from pathlib import Path

from triage_agent.audit.anchors import Anchor, load_public_key, read_anchors
from triage_agent.audit.messages import Source
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Worklist
from triage_agent.settings import Settings
from triage_agent.web.site.audit_chain import AuditParts
from triage_agent.worklist.audit_log import SqlAuditLog, audit_log_of

SYSLOG = "syslog"
"""The name of the cursor of what is sent."""


def anchors_file(settings: Settings) -> Path:
    """Where anchors are appended."""
    return settings.audit.anchors or settings.data_dir / "audit-anchors.jsonl"


def anchor_key(settings: Settings) -> Path:
    """The file of the key that signs them."""
    return settings.audit.anchor_key or settings.data_dir / "keys" / "audit-anchor.key"


def own_anchors(settings: Settings) -> Sequence[Anchor]:
    """The anchors that this agent has appended; none where the file or the public half of the key is not here.

    Raises:
        ConfigurationError: a file cannot be read.
        TriageError: a line was not signed by that key.
    """
    file, public = anchors_file(settings), anchor_key(settings).with_suffix(".pub")
    if not (file.exists() and public.exists()):
        return ()
    return read_anchors(file, load_public_key(public))


def audit_log(worklist: Worklist) -> SqlAuditLog:
    """The audit log of a worklist in a database.

    Raises:
        WorklistUnavailableError: it is in none.
    """
    if (found := audit_log_of(worklist)) is None:
        raise WorklistUnavailableError("this worklist has no audit log that can be verified")
    return found


def build_audit_parts(settings: Settings, worklist: Worklist) -> AuditParts:
    """What the audit console is made of.

    Raises:
        WorklistUnavailableError: the worklist is in no database.
    """
    return AuditParts(
        log=audit_log(worklist),
        source=message_source(settings),
        anchors=lambda: own_anchors(settings),
        syslog=SYSLOG if settings.audit.syslog else None,
    )


def message_source(settings: Settings) -> Source:
    """How audit messages name us."""
    ae_title = settings.dicom.ae_title
    return Source(
        source_id=settings.audit.source_id or ae_title,
        site=settings.institution,
        ae_title=ae_title,
        host=socket.gethostname(),
        patients=settings.audit.patients,
    )
