"""Comparisons with a shadow bundle, in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.decision import Comparison, ShadowResult
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import Outcome
from triage_agent.worklist import trail
from triage_agent.worklist.memory.base import Rows


class Shadow(Rows):
    """The part of the port that compares two bundles."""

    def record_shadow(
        self,
        study_instance_uid: str,
        revision: int,
        result: ShadowResult,
        assessments: Sequence[Assessment],
        now: datetime,
    ) -> bool:
        """See `Worklist.record_shadow`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            decision = study.decisions.get(revision) if study else None
            if study is None or decision is None or decision.probability is None or revision in study.shadows:
                return False
            study.shadows[revision] = result
            for assessment in assessments:
                self._keep_shadow(study_instance_uid, assessment)
            self._audit.append(trail.shadow_compared(study_instance_uid, revision, result, now))
            return True

    def _keep_shadow(self, study_instance_uid: str, assessment: Assessment) -> None:
        image = self._images.get(assessment.sop_instance_uid)
        if image is None or image.study_instance_uid != study_instance_uid or image.assessment is None:
            return
        if image.assessment.outcome is Outcome.SCORED and image.assessment.bundle_digest == assessment.bundle_digest:
            image.assessment = replace(
                image.assessment,
                shadow_probability=assessment.shadow_probability,
                shadow_digest=assessment.shadow_digest,
            )

    def comparisons(self, since: datetime) -> Sequence[Comparison]:
        """See `Worklist.comparisons`."""
        with self._lock:
            found = [study.comparison(since) for study in self._studies.values()]
            return sorted(
                (one for one in found if one is not None), key=lambda one: (one.decided_at, one.study_instance_uid)
            )
