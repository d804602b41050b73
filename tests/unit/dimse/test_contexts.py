import pytest
from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from triage_agent.dimse.contexts import storage_sop_classes, supported_contexts, transfer_syntaxes
from triage_agent.dimse.library import configure_pynetdicom


@pytest.fixture(autouse=True)
def _configured():
    configure_pynetdicom()


@pytest.mark.parametrize("sop_class", sorted(storage_sop_classes()), ids=lambda uid: UID(uid).name)
def test_every_storage_sop_class_is_served_as_storage(sop_class):
    assert uid_to_service_class(sop_class) is StorageServiceClass


def test_everything_that_pynetdicom_knows_is_kept():
    assert {context.abstract_syntax for context in AllStoragePresentationContexts} <= storage_sop_classes()
    assert set(ALL_TRANSFER_SYNTAXES) <= set(transfer_syntaxes())


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane Image Storage (retired)
        "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image Storage (retired)
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image Storage (retired)
        "1.2.840.10008.5.1.4.1.1.501.2.1",  # DICOS Digital X-Ray
    ],
)
def test_retired_and_related_storage_is_kept_too(sop_class):
    assert sop_class in storage_sop_classes()


@pytest.mark.parametrize(
    "other",
    [
        "1.2.840.10008.1.20.1",  # Storage Commitment
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol Storage: of no study, and of another service class
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.3.4",
    ],
)
def test_what_is_no_storage_is_not_kept(other):
    assert other not in supported_contexts()


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        "1.2.840.10008.1.2.1.99",  # deflated
        "1.2.840.10008.1.2.2",  # big endian, retired
        "1.2.840.10008.1.2.4.55",  # JPEG full progression, retired
        "1.2.840.10008.1.2.4.112",  # JPEG XL
        "1.2.840.10008.1.2.4.201",  # HTJ2K
        "1.2.840.10008.1.2.4.103",  # MPEG-4
        "1.2.840.10008.1.2.1.98",  # encapsulated uncompressed
    ],
)
def test_every_transfer_syntax_is_kept(transfer_syntax):
    assert transfer_syntax in transfer_syntaxes()


@pytest.mark.parametrize("wrapping", ["1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2"])
def test_what_does_not_encode_a_data_set_is_no_transfer_syntax_of_ours(wrapping):
    assert wrapping not in transfer_syntaxes()


def test_what_needs_no_codec_is_preferred():
    assert [str(uid) for uid in transfer_syntaxes()[:2]] == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    assert len(set(transfer_syntaxes())) == len(transfer_syntaxes())
