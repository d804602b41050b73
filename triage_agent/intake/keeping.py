"""Whether a registered instance is still as it was kept: what a promise to keep it (storage commitment) rests on."""

import hashlib
from pathlib import Path

import structlog

from triage_agent.domain.commitment import KeptInstance
from triage_agent.intake.part10 import decode_preamble

log = structlog.get_logger(__name__)

_START = 4096  # bytes that hold a file's meta information
_PIECE = 1 << 20


def is_kept(root: Path, instance: KeptInstance, *, read_whole: bool) -> bool:
    """Whether its spool file is there, of the right object and length, and with `read_whole` of the right bytes."""
    try:
        with (root / instance.path).open("rb") as file:
            meta = decode_preamble(memoryview(file.read(_START)))
            if meta is None or meta.sop_instance_uid != instance.sop_instance_uid:
                return not_kept(instance, "no file meta information of this object")
            if file.seek(0, 2) != meta.data_set_offset + instance.size:
                return not_kept(instance, "not as long as it was")
            if not read_whole:
                return True
            file.seek(meta.data_set_offset)
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        return not_kept(instance, error.strerror or type(error).__name__)
    return digest.hexdigest() == instance.sha256 or not_kept(instance, "not the bytes that it was")


def not_kept(instance: KeptInstance, why: str) -> bool:
    """False, and a line of the log: something is lost, or the disk fails: an admin must hear of it."""
    log.error("spool_file_not_as_kept", path=instance.path, sop_instance_uid=instance.sop_instance_uid, why=why)
    return False
