"""What can be negotiated with us, and which permission of a peer it takes (PS3.8 section 9.3.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from triage_agent.dimse.contexts import (
    COMMITMENT,
    VERIFICATION,
    commitment_context,
    service_context,
    supported_contexts,
)
from triage_agent.dimse.peers import COMMIT, REPORT, STORE
from triage_agent.dimse.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptable:
    """One SOP class that an association may be about, for people.

    Attributes:
        transfer_syntaxes: the best first; of those that a context proposes the best is taken.
        permissions: of which a peer needs one; empty for what every peer may.
        both_roles: whether a peer may propose to be its provider, too (PS3.7 section D.3.3.4).
    """

    sop_class_uid: str
    transfer_syntaxes: tuple[str, ...]
    permissions: frozenset[str]
    both_roles: bool


class Offer:
    """The presentation contexts of a server with these services beside storage; `commits`: with commitment, too."""

    def __init__(self, services: Sequence[Service], *, commits: bool) -> None:
        self._needed: dict[UID, frozenset[str]] = dict.fromkeys(supported_contexts(), frozenset({STORE}))
        self._needed[VERIFICATION] = frozenset()
        if commits:
            self._needed[COMMITMENT] = frozenset({COMMIT, REPORT})
        served = {uid: may for service in services for uid, may in service.sop_classes.items()}
        self._needed |= served
        # Commitment is known also where nobody serves it: who asks for it then lacks a permission.
        self._contexts: Mapping[UID, PresentationContext] = {
            **supported_contexts(),
            COMMITMENT: commitment_context(),
            **{uid: service_context(uid) for uid in served},
        }

    @property
    def known(self) -> Mapping[UID, PresentationContext]:
        """All that anybody might be permitted."""
        return self._contexts

    def usable(self, permissions: frozenset[str]) -> set[UID]:
        """The SOP classes that somebody with these permissions may negotiate."""
        return {uid for uid, needed in self._needed.items() if not needed or needed & permissions}

    def listed(self) -> Iterator[Acceptable]:
        """Every SOP class that somebody may negotiate, by UID."""
        for uid in sorted(self._needed):
            context = self._contexts[uid]
            yield Acceptable(
                sop_class_uid=str(uid),
                transfer_syntaxes=tuple(str(syntax) for syntax in context.transfer_syntax),
                permissions=self._needed[uid],
                both_roles=bool(context.scu_role and context.scp_role),
            )
