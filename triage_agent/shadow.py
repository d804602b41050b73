"""The shadow bundle at work: a second opinion on every decided study, from which nothing follows.

It looks at a study when its decision has been committed, in a thread of its own and from the spool again. Scoring the
images as they arrive, where they are decoded already, would save that second decoding; but the next image's flag would
wait for the shadow, and so would a decision's raise. Here neither does (promise 7), a study is compared whole, by one
bundle, and no more than a batch of images is in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from triage_agent.afterwards import Afterwards, Decided, StoppedError
from triage_agent.decision.shadow import shadow_result, to_compare
from triage_agent.domain.decision import Decision
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import Clock, ImageScorer, Worklist
from triage_agent.domain.study import Assessment, ClaimedStudy, ImageScore
from triage_agent.imaging.load import Displayable
from triage_agent.imaging.loader import Loader, SpoolLoader

_LONGEST_QUEUE = 1000  # studies: a shadow that is slower than the stream leaves some out instead of filling the memory


class Shadow:
    """Compares decided studies with a second bundle, one after the other."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        spool: Path,
        loader: Loader,
        scorer: ImageScorer,
        clock: Clock,
        compared: Callable[[bool | None], None],
        batch: int,
        secondary_captures: bool = False,
    ) -> None:
        """`compared` is told whether the bundles agree on a study, and None where the shadow failed on it."""
        self._worklist = worklist
        self._spool = spool
        self._loader = SpoolLoader(loader, spool)
        self._scorer = scorer
        self._clock = clock
        self._compared = compared
        self._batch = batch
        self._secondary_captures = secondary_captures
        self._waiting = Afterwards("shadow", _LONGEST_QUEUE, lambda: compared(None))

    def offer(self, claimed: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> None:
        """Let a study be compared later; returns at once."""
        if to_compare(decision, assessments, self._scorer.identity):
            self._waiting.put(claimed, decision, assessments)

    def stop(self) -> None:
        """Do not finish what is in hand."""
        self._waiting.stop()

    def step(self) -> bool:
        """Compare the study that has waited longest; see `Afterwards.step`."""
        return self._waiting.step(self._compare_one)

    def _compare_one(self, one: Decided) -> None:
        agrees = self._compare(one.study, one.decision, one.assessments)
        if agrees is not None:
            self._compared(agrees)

    def _compare(self, claimed: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> bool | None:
        """Whether the bundles agree; None where there is nothing to compare, or the study has been compared before."""
        wanted = {one.sop_instance_uid: one for one in to_compare(decision, assessments, self._scorer.identity)}
        paths = [self._spool / one.path for one in claimed.instances if one.sop_instance_uid in wanted]
        order = [one.sop_instance_uid for one in claimed.instances if one.sop_instance_uid in wanted]
        scores = dict(zip(order, self._scores(paths), strict=True))
        seen = [_with_shadow(wanted[uid], scores[uid], self._scorer.identity.digest) for uid in order]
        result = shadow_result(decision, seen, self._scorer.identity)
        if result is None:
            return None
        uid, revision = claimed.study_instance_uid, claimed.revision
        kept = self._worklist.record_shadow(uid, revision, result, seen, self._clock())
        return result.agrees if kept else None

    def _scores(self, paths: Sequence[Path]) -> list[ImageScore]:
        """One score a file; whatever goes wrong with one is an error of the whole comparison."""
        scores: list[ImageScore] = []
        for start in range(0, len(paths), self._batch):
            if self._waiting.stopping.is_set():
                raise StoppedError("stopped")
            batch = [self._load(path) for path in paths[start : start + self._batch]]
            said = self._scorer.score([one.image for one in batch], [one.region.code for one in batch])
            scores += [score for _, score in zip(batch, said, strict=True)]
        return scores

    def _load(self, path: Path) -> Displayable:
        loaded = self._loader.load(path, secondary_captures=self._secondary_captures)
        if not isinstance(loaded, Displayable):
            raise TriageError(f"not to be scored any more: {loaded.reason}")
        return loaded


def _with_shadow(assessment: Assessment, score: ImageScore, digest: str) -> Assessment:
    """The assessment with the shadow's part; an image that is too unlike its training images has no probability.

    Raises:
        ValueError: the model gave no probability.
    """
    if not 0.0 <= score.probability <= 1.0:
        raise ValueError("the shadow bundle gives no probability")
    known = score.strangeness <= 1
    return replace(assessment, shadow_probability=score.probability if known else None, shadow_digest=digest)
