"""A second bundle beside the deciding one: does it come to the same side of its own threshold? Pure.

Agreement between the two is Cohen's kappa (Cohen 1960): what they agree on beyond what their rates alone would give.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from triage_agent.domain.decision import Comparison, Decision, ModelIdentity, ShadowResult
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import Finding, Outcome


def to_compare(decision: Decision, assessments: Iterable[Assessment], shadow: ModelIdentity) -> list[Assessment]:
    """The images that count for both: scored by the deciding bundle, of a region that both know or that nobody states.

    Empty for a decision without a probability: there is nothing to agree with.
    """
    if decision.probability is None:
        return []
    return [
        one
        for one in assessments
        if one.outcome is Outcome.SCORED
        and one.probability is not None
        and one.bundle_digest == decision.model.digest
        and all(one.anatomy is None or one.anatomy in model.anatomies for model in (decision.model, shadow))
    ]


def shadow_result(decision: Decision, assessments: Iterable[Assessment], shadow: ModelIdentity) -> ShadowResult | None:
    """Both bundles' means over the images that both scored, each against its own threshold.

    Args:
        decision: what was decided.
        assessments: of the study's images; the shadow's part of one counts only if this very bundle made it.
        shadow: the shadow bundle.

    Returns:
        None where no image was scored by both.
    """
    pairs = [
        (one.probability, one.shadow_probability)
        for one in to_compare(decision, assessments, shadow)
        if one.shadow_digest == shadow.digest and one.shadow_probability is not None and one.probability is not None
    ]
    if not pairs:
        return None
    deciding = math.fsum(pair[0] for pair in pairs) / len(pairs)
    probability = math.fsum(pair[1] for pair in pairs) / len(pairs)
    abnormal = probability >= shadow.threshold
    return ShadowResult(
        bundle=shadow.label,
        digest=shadow.digest,
        probability=probability,
        finding=Finding.ABNORMAL if abnormal else Finding.NORMAL,
        agrees=abnormal == (deciding >= decision.model.threshold),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How many studies of each kind there are: which of the two bundles calls them abnormal."""

    both_abnormal: int = 0
    only_deciding: int = 0
    only_shadow: int = 0
    both_normal: int = 0

    @classmethod
    def of(cls, results: Iterable[ShadowResult]) -> "Agreement":
        """Count; the deciding bundle's side is the shadow's where they agree, else the other."""
        sides = [(one.finding is Finding.ABNORMAL, one.agrees) for one in results]
        return cls(
            both_abnormal=sides.count((True, True)),
            only_deciding=sides.count((False, False)),
            only_shadow=sides.count((True, False)),
            both_normal=sides.count((False, True)),
        )

    @property
    def studies(self) -> int:
        """How many were compared."""
        return self.both_abnormal + self.only_deciding + self.only_shadow + self.both_normal

    @property
    def share(self) -> float | None:
        """The share on which they agree, in [0, 1]; None of no study."""
        return (self.both_abnormal + self.both_normal) / self.studies if self.studies else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, at most 1; None of no study, and where both say the same of all: chance would do that too."""
        if self.share is None:
            return None
        deciding = (self.both_abnormal + self.only_deciding) / self.studies
        shadow = (self.both_abnormal + self.only_shadow) / self.studies
        chance = deciding * shadow + (1 - deciding) * (1 - shadow)
        return None if chance >= 1 else (self.share - chance) / (1 - chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two bundles that met, and how they got on.

    Attributes:
        bundle, shadow: name, version and short digest of the deciding and of the shadow bundle.
        anatomies: by region; "" where none is stated.
        disagreeing: the studies on which they differ, those with the largest difference of probability first.
    """

    bundle: str
    shadow: str
    overall: Agreement
    anatomies: dict[str, Agreement]
    disagreeing: tuple[Comparison, ...]


def pairs_of(comparisons: Sequence[Comparison]) -> list[Pair]:
    """Each pair of bundles by itself, the latest first: figures of different bundles are not mixed."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault((one.bundle, one.shadow.bundle), []).append(one)
    latest = sorted(groups.items(), key=lambda group: max(one.decided_at for one in group[1]), reverse=True)
    return [_pair(bundle, shadow, members) for (bundle, shadow), members in latest]


def _pair(bundle: str, shadow: str, members: Sequence[Comparison]) -> Pair:
    regions = sorted({one.anatomy or "" for one in members})
    differing = [one for one in members if not one.shadow.agrees]
    return Pair(
        bundle=bundle,
        shadow=shadow,
        overall=Agreement.of(one.shadow for one in members),
        anatomies={
            region: Agreement.of(one.shadow for one in members if (one.anatomy or "") == region) for region in regions
        },
        disagreeing=tuple(sorted(differing, key=lambda one: (-difference(one), one.study_instance_uid))),
    )


def difference(comparison: Comparison) -> float:
    """How far apart the two probabilities of a study are, in [0, 1]."""
    return abs(comparison.probability - comparison.shadow.probability)
