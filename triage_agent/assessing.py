"""Loaded images to assessments: the model is asked, and where it fails it is found out whether the image is why."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import numpy as np
import structlog

from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.errors import ImagesFailedError, ModelUnavailableError, UnreadableImageError
from triage_agent.domain.ports import ImageScorer
from triage_agent.domain.study import Assessment, ImageScore
from triage_agent.domain.vocabulary import Outcome
from triage_agent.imaging.ahead import ReadAhead
from triage_agent.imaging.load import Displayable, Skipped

log = structlog.get_logger(__name__)

# What every model can score: if it fails on this one too, the fault is not in the image that it failed on.
_TEST_IMAGE = np.linspace(0.0, 1.0, 224 * 224, dtype=np.float32).reshape(224, 224)


Read = Callable[[], Displayable | Skipped | UnreadableImageError]
"""Loads one file; what goes wrong with it is a value."""


def assess_ahead(
    reads: Sequence[tuple[str, Read]], scorer: ImageScorer, ahead: ReadAhead, together: int
) -> Generator[list[Assessment]]:
    """Assessments for each (SOP Instance UID, how it is read), in order, `together` at a time.

    While the model has some, the next ones are read.

    Raises:
        ModelUnavailableError: the model scores nothing at all, or nothing can be read at the moment.
    """
    uids = iter([uid for uid, _ in reads])
    with closing(ahead.groups([read for _, read in reads], together)) as groups:
        for loaded in groups:
            yield score_loaded([(next(uids), what) for what in loaded], scorer)


def score_loaded(
    loaded: Sequence[tuple[str, Displayable | Skipped | UnreadableImageError]], scorer: ImageScorer
) -> list[Assessment]:
    """One assessment for each (SOP Instance UID, what loading gave), in order.

    Raises:
        ModelUnavailableError: the model scores nothing at all, not even a built-in image.
    """
    displayable = [(uid, what) for uid, what in loaded if isinstance(what, Displayable)]
    scores = dict(zip([uid for uid, _ in displayable], _score([what for _, what in displayable], scorer), strict=True))
    return [_assessment(uid, what, scores.get(uid), scorer.identity) for uid, what in loaded]


def _assessment(
    uid: str,
    what: Displayable | Skipped | UnreadableImageError,
    score: ImageScore | str | None,
    model: ModelIdentity,
) -> Assessment:
    if isinstance(what, UnreadableImageError):
        return Assessment(sop_instance_uid=uid, outcome=Outcome.FAILED, reason=what.message)
    stated = what.region.code
    if isinstance(what, Skipped):
        return Assessment(sop_instance_uid=uid, outcome=Outcome.SKIPPED, reason=what.reason, anatomy=stated)
    if not isinstance(score, ImageScore):
        return Assessment(sop_instance_uid=uid, outcome=Outcome.FAILED, reason=str(score), anatomy=stated)
    # What is of a region that the bundle does not know is kept and not counted, whatever it looks like.
    strange = score.strangeness > 1 and (stated is None or stated in model.anatomies)
    return Assessment(
        sop_instance_uid=uid,
        outcome=Outcome.FAILED if strange else Outcome.SCORED,
        probability=score.probability,  # of a strange image it means too little to count, and may still raise
        reason=_unlike(score.strangeness) if strange else "",
        anatomy=stated or score.seen_anatomy,
        seen_anatomy=score.seen_anatomy,
        anatomy_from_image=stated is None and score.seen_anatomy is not None,
        bundle_digest=model.digest,
    )


def _unlike(strangeness: float) -> str:
    return f"the image is unlike those that the model learnt from ({strangeness:.1f} times the limit)"


def _score(images: Sequence[Displayable], scorer: ImageScorer) -> list[ImageScore | str]:
    """Scores; where the model fails on a batch, image by image, with the reason for the one that crashed it."""
    if not images:
        return []
    try:
        scored = scorer.score([image.image for image in images], [image.region.code for image in images])
        return [score for _, score in zip(images, scored, strict=True)]
    except ModelUnavailableError:
        raise  # it says so itself
    except ImagesFailedError as error:  # it says which: they have ended replicas enough
        check_model(scorer)
        return [_of_image(result) if isinstance(result, str) else result for result in error.results]
    except Exception as error:  # noqa: BLE001 - promise 2: a crash of the model costs one study its score
        log.error("model_failed", images=len(images), error=type(error).__name__)  # noqa: TRY400
        if len(images) == 1:
            check_model(scorer)  # a broken model would else leave every study of the queue to a human
            return [_of_image(type(error).__name__)]
        return [result for image in images for result in _score([image], scorer)]


def _of_image(why: str) -> str:
    return f"the model failed on this image ({why})"


def check_model(scorer: ImageScorer) -> None:
    """Have a built-in image scored.

    Raises:
        ModelUnavailableError: it cannot be.
    """
    remedy = "see `triage-agent check`; a device that failed may need a restart of the worker"
    try:
        (score,) = scorer.score([_TEST_IMAGE])
    except ModelUnavailableError:
        raise
    except Exception as error:
        raise ModelUnavailableError(f"the model scores nothing ({type(error).__name__})", remedy=remedy) from error
    if not 0.0 <= score.probability <= 1.0:
        raise ModelUnavailableError("the model gives no probabilities", remedy=remedy)
