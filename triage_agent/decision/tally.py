"""A study's instances, sorted by what became of them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.study import Assessment, StoredInstance
from triage_agent.domain.vocabulary import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One instance with its probability in [0, 1]."""

    probability: float
    anatomy: str | None
    seen_anatomy: str | None
    anatomy_from_image: bool
    bundle_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a decision is made of.

    Attributes:
        counted: scored, and showing a region of the bundle or one that is not stated; these make the mean.
        outside: scored, but showing a region that the bundle does not cover; kept, and not counted.
        failed: why each failed one failed.
        skipped: why each skipped one was skipped.
        anatomy: the region most of the counted show, else most of the outside; None where nothing says so.
    """

    counted: tuple[Scored, ...]
    outside: tuple[Scored, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    anatomy: str | None

    @classmethod
    def of(
        cls,
        instances: Sequence[StoredInstance],
        assessments: Sequence[Assessment],
        model: ModelIdentity,
        lost: str | None = None,
    ) -> "Tally":
        """Sort `instances` by their assessment: the one given, else the one kept with the instance, else failed.

        `lost` says why one that was sent is not among them; it counts as failed.
        """
        given = {one.sop_instance_uid: one for one in assessments}
        counted: list[Scored] = []
        outside: list[Scored] = []
        failed = [] if lost is None else [lost]
        skipped: list[str] = []
        unscored: list[str | None] = []
        for instance in instances:
            found = given.get(instance.sop_instance_uid, instance.assessment)
            if found is None:
                failed.append("no result")
            elif instance.original_deleted_at and found.bundle_digest not in {"", model.digest}:
                failed.append("another bundle scored it, and its original has been deleted since")
            elif found.outcome is Outcome.SCORED and _usable(found.probability):
                one = Scored(
                    probability=found.probability or 0.0,
                    anatomy=found.anatomy,
                    seen_anatomy=found.seen_anatomy,
                    anatomy_from_image=found.anatomy_from_image,
                    bundle_digest=found.bundle_digest,
                )
                inside = one.anatomy is None or one.anatomy in model.anatomies
                (counted if inside else outside).append(one)
            elif found.outcome is Outcome.SKIPPED:
                skipped.append(found.reason or "nothing to score")
            else:
                failed.append(found.reason or "the model gave no probability")
                unscored.append(found.anatomy)
        regions = (
            _commonest(one.anatomy for one in counted if not one.anatomy_from_image)
            or _commonest(one.anatomy for one in counted)
            or _commonest(one.anatomy for one in outside)
            or _commonest(unscored)
        )
        return cls(
            counted=tuple(counted),
            outside=tuple(outside),
            failed=tuple(failed),
            skipped=tuple(skipped),
            anatomy=regions,
        )

    @property
    def considered(self) -> int:
        """How many instances the model was meant to score."""
        return len(self.counted) + len(self.outside) + len(self.failed)

    @property
    def mean(self) -> float:
        """The study probability; there must be a counted instance."""
        return math.fsum(one.probability for one in self.counted) / len(self.counted)


def _usable(probability: float | None) -> bool:
    return probability is not None and 0.0 <= probability <= 1.0


def _commonest(anatomies: Iterable[str | None]) -> str | None:
    """The most frequent stated region; of equally frequent ones the first by name, whatever the order of arrival."""
    counts = Counter(anatomy for anatomy in anatomies if anatomy is not None)
    return min(counts, key=lambda anatomy: (-counts[anatomy], anatomy)) if counts else None
