"""What the server can keep: every storage SOP class and every transfer syntax of the standard."""

from collections.abc import Mapping
from functools import cache

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
    register_uid,
)

# Preferred where a sender offers a choice in one context: what needs no codec, then what loses nothing.
_PREFERRED = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian (retired)
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless Only
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless SV1
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless Only
)
# Called transfer syntaxes, but no way to encode a data set: RFC 2557 MIME encapsulation and XML, both retired.
_NOT_DATA_SETS = "1.2.840.10008.1.2.6."

# Storage in all but name's prefix; PS3.4 Annex GG objects (hanging protocols, palettes, implant templates, defined
# procedure protocols, inventories) belong to no study and to another service class, so they are not kept.
_OUTSIDE_PREFIX = frozenset(
    {
        "1.2.840.10008.5.1.1.27",  # Stored Print Storage (retired)
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image Storage (retired)
        "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image Storage (retired)
        "1.2.840.10008.5.1.4.34.1",  # RT Beams Delivery Instruction Storage - Trial (retired)
    }
)
_STORAGE_PREFIX = "1.2.840.10008.5.1.4.1.1."
_ANNEX_GG = ("1.2.840.10008.5.1.4.1.1.200.", "1.2.840.10008.5.1.4.1.1.201.")

VERIFICATION: UID = Verification
COMMITMENT: UID = StorageCommitmentPushModel


def transfer_syntaxes() -> tuple[UID, ...]:
    """Every transfer syntax that writes a data set, best first, the retired ones too."""
    known = [
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and not uid.startswith(_NOT_DATA_SETS)
    ]
    rank = {uid: place for place, uid in enumerate(_PREFERRED)}
    return tuple(UID(uid) for uid in sorted(known, key=lambda uid: rank.get(uid, len(rank))))


def storage_sop_classes() -> frozenset[UID]:
    """Every SOP class of the Storage Service Class (PS3.4 Annex B), the retired ones too."""
    named = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and _is_storage(uid)
    }
    known = {context.abstract_syntax for context in AllStoragePresentationContexts}
    return frozenset(UID(uid) for uid in named | known if uid is not None)


@cache
def supported_contexts() -> Mapping[UID, PresentationContext]:
    """What the server accepts, by abstract syntax; shared by all associations, none of which changes it."""
    syntaxes: list[str | UID] = [*transfer_syntaxes()]
    storage = {uid: build_context(uid, syntaxes) for uid in storage_sop_classes()}
    return {**storage, VERIFICATION: build_context(VERIFICATION, syntaxes[:4])}


@cache
def commitment_context() -> PresentationContext:
    """Storage commitment, in both roles: a peer that reports to us proposes to be its provider (PS3.7 D.3.3.4)."""
    syntaxes: list[str | UID] = [*transfer_syntaxes()]
    context = build_context(COMMITMENT, syntaxes[:4])
    context.scu_role = context.scp_role = True
    return context


def service_context(sop_class_uid: UID) -> PresentationContext:
    """A service's SOP class, little endian with and without VRs: a deflated request could be of any length."""
    syntaxes: list[str | UID] = [*transfer_syntaxes()]
    return build_context(sop_class_uid, syntaxes[:2])


def register_storage_sop_classes() -> None:
    """Tell pynetdicom that the SOP classes it has no entry for (retired, DICOS, DICONDE) are storage too.

    Its registry belongs to the process; the entries add to it and change none.
    """
    known = {context.abstract_syntax for context in AllStoragePresentationContexts}
    for uid in sorted(storage_sop_classes() - known):
        register_uid(uid, f"TriageAgentStorage_{uid.replace('.', '_')}", StorageServiceClass)


def _is_storage(uid: str) -> bool:
    return uid in _OUTSIDE_PREFIX or (uid.startswith(_STORAGE_PREFIX) and not uid.startswith(_ANNEX_GG))
