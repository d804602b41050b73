from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.story import MODEL

from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy, StoredInstance
from triage_agent.domain.vocabulary import Outcome, Priority

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def model():
    return replace(MODEL, anatomies=("XR_KNEE", "XR_WRIST"), clinical_use=True)


def stored(number, assessment=None):
    return StoredInstance(
        sop_instance_uid=f"1.2.{number}",
        series_instance_uid="1.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=f"{number}.dcm",
        received_at=NOW,
        assessment=assessment,
    )


@pytest.fixture
def assess():
    """Instance n's assessment, in shorthand: a number is a score, "skip ..." a skip, any other text a failure."""

    def assess(number, what, anatomy="XR_KNEE", digest="d" * 64):
        uid = f"1.2.{number}"
        if isinstance(what, float):
            return Assessment(
                sop_instance_uid=uid, outcome=Outcome.SCORED, probability=what, anatomy=anatomy, bundle_digest=digest
            )
        outcome = Outcome.SKIPPED if what.startswith("skip") else Outcome.FAILED
        return Assessment(
            sop_instance_uid=uid, outcome=outcome, reason=what.removeprefix("skip").strip(), anatomy=anatomy
        )

    return assess


@pytest.fixture
def claim_study():
    def claim_study(instances, priority=Priority.ROUTINE):
        return ClaimedStudy(
            study_instance_uid="1.9",
            revision=2,
            priority=priority,
            attempt=1,
            instances=tuple(stored(number) for number in range(instances)),
        )

    return claim_study


@pytest.fixture
def claim_image():
    def claim_image(priority=Priority.ROUTINE):
        return ClaimedImage(study_instance_uid="1.9", revision=2, priority=priority, instance=stored(0))

    return claim_image
