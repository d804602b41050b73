"""Taking results back: why, and the part of the worklist that does it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from triage_agent.domain.decision import Artifact, Shipment


class RejectionReason(StrEnum):
    """Why objects are withdrawn: the four titles that a rejection note may have (CID 7010; IHE RAD IOCM)."""

    QUALITY = "quality"  # wrong or useless; may still be looked at for quality's sake
    PATIENT_SAFETY = "patient-safety"  # must not be seen any more
    WRONG_ORDER = "wrong-order"  # of another patient or order
    RETENTION = "retention"  # kept for as long as it had to be


class Withdrawals(Protocol):
    """The part of the worklist that takes results back; each method is one transaction."""

    def objects_of(self, study_instance_uid: str) -> Sequence[Shipment]:
        """The DICOM objects of a study that were sent or wait to be, one a destination, in the order of the outbox.

        Rejection notes are among them; what is dead is not, since its destination has not taken it, nor what is
        withdrawn. Of those whose bytes were let go there is the header.
        """

    def withdraw(
        self,
        study_instance_uid: str,
        notes: Sequence[Shipment],
        objects: Sequence[Shipment],
        *,
        reason: RejectionReason,
        actor: str,
        now: datetime,
    ) -> int:
        """Queue rejection notes behind whatever goes to their destinations, with an audit event; returns how many.

        `objects` is what `objects_of` told when the notes were made: that is withdrawn from now on, and so is what no
        destination has taken. What came since is not. What is queued already is not queued again. Of what stood before
        a note nothing dead is revived, and no destination is asked to commit to it.
        """

    def withdrawn_of(self, study_instance_uid: str, limit: int) -> Sequence[Artifact]:
        """The DICOM objects of a study that were withdrawn, newest first; their bytes may be gone."""
