"""What we propose to peers and in which role, by what it is for; made of what the clients themselves use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from triage_agent.dimse.client import proposed_for
from triage_agent.dimse.commitment_client import CONTEXTS as COMMITMENT
from triage_agent.dimse.outgoing import Context
from triage_agent.dimse.retrieving import FIND, GET, MOVE
from triage_agent.dimse.sub_operations import contexts_to_keep
from triage_agent.dimse.ups_client import CONTEXTS as WORKITEM_EVENTS
from triage_agent.dimse.ups_push import CONTEXTS as WORKITEMS


class Purpose(StrEnum):
    """Why we ask for an association, but to store: what that proposes is in the object (`storing`)."""

    ECHO = "echo"
    COUNT = "count"
    MOVE = "move"
    GET = "get"
    COMMITMENT = "commitment"
    COMMITMENT_REPORT = "commitment report"
    WORKITEM = "workitem"
    WORKITEM_REPORT = "workitem report"


@dataclass(frozen=True, slots=True)
class Proposal:
    """The contexts of one association; `provider`: by role selection we propose to be the service's provider."""

    contexts: tuple[Context, ...]
    provider: bool = False


PROPOSALS: Mapping[Purpose, Proposal] = MappingProxyType(
    {
        Purpose.ECHO: Proposal(((Verification, ImplicitVRLittleEndian),)),
        Purpose.COUNT: Proposal((FIND,)),
        Purpose.MOVE: Proposal((FIND, MOVE)),
        Purpose.GET: Proposal((FIND, GET)),
        Purpose.COMMITMENT: Proposal(tuple(COMMITMENT)),
        Purpose.COMMITMENT_REPORT: Proposal(tuple(COMMITMENT), provider=True),
        Purpose.WORKITEM: Proposal(tuple(WORKITEMS)),
        Purpose.WORKITEM_REPORT: Proposal(tuple(WORKITEM_EVENTS), provider=True),
    }
)


def storing(part10: bytes) -> Proposal:
    """What is proposed to store an object of ours.

    Raises:
        DeliveryError: it is no Part 10 file.
    """
    return Proposal(tuple(proposed_for(part10)))


def kept_by_get(sop_classes: Collection[str]) -> Proposal:
    """The storage contexts beside a C-GET for studies with such images, or with ones that nobody knows (none)."""
    contexts, _roles = contexts_to_keep(sop_classes)
    return Proposal(tuple(contexts), provider=True)
