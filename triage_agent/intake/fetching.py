"""Fetches one study from a PACS: what it has, what is missing, ask for that, see that it came; not for ever.

Where images come by C-MOVE they come to the listener, perhaps of another process: the worklist says what is here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from triage_agent.domain.ports import Clock
from triage_agent.domain.retrieval import (
    Archive,
    RemoteInstance,
    Retrieval,
    RetrievalError,
    Retrievals,
    SubOperations,
    Wanted,
)
from triage_agent.domain.sop_classes import RADIOGRAPHS

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.25
_MOST_NAMED = 2000  # UIDs of missing instances that are kept; of more only the number
_MOST_DOUBLINGS = 6
_NONE = SubOperations()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRule:
    """How long and how often a PACS is asked.

    Attributes:
        tries: how often one study is asked for.
        pause: before the second time; doubled each time.
        arrival: how long to go on looking after the PACS has said that it has sent everything, and nothing comes.
    """

    tries: int
    pause: timedelta
    arrival: timedelta

    def pause_after(self, attempt: int) -> timedelta:
        """How long to wait after attempt number `attempt`, which counts from 1."""
        doublings: int = min(attempt - 1, _MOST_DOUBLINGS)
        return self.pause * (1 << doublings)

    @property
    def longest_pause(self) -> timedelta:
        """Between any two tries."""
        return self.pause_after(self.tries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one try.

    Attributes:
        fetched: instances that came meanwhile.
        lacking: instances that the PACS has and that did not come; None where it did not say what it has.
    """

    fetched: int
    lacking: int | None
    operations: SubOperations = _NONE
    error: RetrievalError | None = None


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the PACS has of a study beside what is here; `missing` is empty where only the number is known."""

    expected: int
    lacking: int
    listed: tuple[RemoteInstance, ...] = ()
    missing: tuple[RemoteInstance, ...] = ()


class Fetcher:
    """Fetches from one PACS; safe to call from many threads.

    Args:
        wait: waits for so many seconds; True when it is time to stop.
    """

    def __init__(
        self,
        *,
        worklist: Retrievals,
        archive: Archive,
        rule: FetchRule,
        clock: Clock,
        wait: Callable[[float], bool],
    ) -> None:
        self._worklist = worklist
        self._archive = archive
        self._rule = rule
        self._clock = clock
        self._wait = wait

    def attempt(self, retrieval: Retrieval) -> Tried | None:
        """Try once, and note what came of it; None when it was interrupted: then nothing is noted, and it is held.

        Raises:
            WorklistUnavailableError: the database is away; the try counts, and another follows after the lease.
        """
        before = len(self._worklist.held_of(retrieval.study_instance_uid).instances)
        if retrieval.attempt > self._rule.tries:
            tried = Tried(fetched=0, lacking=None, error=_ended_abnormally(self._rule.tries))
        else:
            tried = self._try(retrieval, before)
        if tried.error is not None and self._wait(0.0):
            return None
        self._note(retrieval, tried)
        return tried

    def _try(self, retrieval: Retrieval, before: int) -> Tried:
        """Look, ask, look again."""
        operations = _NONE
        try:
            picture = self._look(retrieval)
            if not picture.lacking:
                return Tried(fetched=0, lacking=0)
            is_last = 1 < retrieval.attempt >= self._rule.tries  # some PACS take no question below the study's level
            wanted = plan(retrieval.study_instance_uid, picture.listed, () if is_last else picture.missing)
            sent = self._archive.retrieve(wanted, {one.sop_class_uid for one in picture.listed})
            operations = sent.operations
            lacking = self._until_here(retrieval, picture)
        except RetrievalError as failure:
            here = len(self._worklist.held_of(retrieval.study_instance_uid).instances)
            return Tried(fetched=here - before, lacking=None, operations=operations, error=failure)
        fetched = picture.lacking - lacking
        error = None if not lacking else sent.error or _sent_fewer(retrieval.peer, picture.lacking, lacking)
        return Tried(fetched=fetched, lacking=lacking, operations=operations, error=error)

    def _look(self, retrieval: Retrieval) -> _Picture:
        """What the PACS has, and what of it is missing here; kept on the worklist.

        Raises:
            RetrievalError: it does not say.
        """
        uid = retrieval.study_instance_uid
        study = self._archive.study(uid)
        if study is None:
            raise RetrievalError(f"{retrieval.peer} has no such study", permanent=True)
        listed = tuple(self._archive.instances(uid))
        held = self._worklist.held_of(uid)
        if not listed or len(listed) < (study.instances or 0):
            if study.instances is None:
                raise RetrievalError(f"{retrieval.peer} does not say what the study has", permanent=True)
            picture = _Picture(study.instances, max(0, study.instances - len(held.instances)))
        else:
            missing = tuple(
                one
                for one in listed
                if one.sop_instance_uid not in held.instances | held.own_results and _counts(one, retrieval)
            )
            picture = _Picture(len(held.instances) + len(missing), len(missing), listed, missing)
        self._worklist.retrieval_learnt(retrieval, picture.expected, _names(picture.missing))
        return picture

    def _until_here(self, retrieval: Retrieval, picture: _Picture) -> int:
        """How many are lacking once all are here, or none has come for a while; kept on the worklist."""
        lacking, since = self._still_lacking(retrieval, picture), 0.0
        while lacking and since < self._rule.arrival.total_seconds() and not self._wait(_LOOK_SECONDS):
            left = self._still_lacking(retrieval, picture)
            lacking, since = left, since + _LOOK_SECONDS if left == lacking else 0.0
        return lacking

    def _still_lacking(self, retrieval: Retrieval, picture: _Picture) -> int:
        here = self._worklist.held_of(retrieval.study_instance_uid).instances
        missing = [one for one in picture.missing if one.sop_instance_uid not in here]
        expected = len(here) + len(missing) if picture.missing else picture.expected
        self._worklist.retrieval_learnt(retrieval, expected, _names(missing))
        return len(missing) if picture.missing else max(0, picture.expected - len(here))

    def _note(self, retrieval: Retrieval, tried: Tried) -> None:
        error, now, retry_at = tried.error, self._clock(), None
        if error is not None and not error.permanent and retrieval.attempt < self._rule.tries:
            retry_at = now + self._rule.pause_after(retrieval.attempt)
        self._worklist.retrieval_ended(retrieval, now, error=str(error) if error else None, retry_at=retry_at)
        log.log(
            _LEVEL[error is not None],
            "fetched" if error is None else "not_fetched",
            study_instance_uid=retrieval.study_instance_uid,
            peer=retrieval.peer,
            attempt=retrieval.attempt,
            instances=tried.fetched,
            lacking=tried.lacking,
            failed=tried.operations.failed,
            error=error.message if error else None,
        )


_LEVEL = {False: 20, True: 30}  # information, warning


def plan(study_instance_uid: str, listed: Sequence[RemoteInstance], missing: Sequence[RemoteInstance]) -> list[Wanted]:
    """The least to ask for that brings what is missing: the study, whole series, or instances of a series.

    The study where it is not known what is missing.
    """
    absent = {one.sop_instance_uid for one in missing}
    if not absent or absent == {one.sop_instance_uid for one in listed}:
        return [Wanted(study_instance_uid=study_instance_uid)]
    wanted = []
    for series in dict.fromkeys(one.series_instance_uid for one in missing):
        there = [one.sop_instance_uid for one in listed if one.series_instance_uid == series]
        some = tuple(uid for uid in there if uid in absent)
        wanted.append(
            Wanted(
                study_instance_uid=study_instance_uid,
                series_instance_uid=series,
                sop_instance_uids=() if len(some) == len(there) else some,
            )
        )
    return wanted


def _counts(instance: RemoteInstance, retrieval: Retrieval) -> bool:
    """A person wants the whole study; a study waits only for what may be scored."""
    return retrieval.everything or instance.sop_class_uid in {"", *RADIOGRAPHS}


def _names(missing: Sequence[RemoteInstance]) -> list[str]:
    return [one.sop_instance_uid for one in missing] if len(missing) <= _MOST_NAMED else []


def _sent_fewer(peer: str, asked: int, lacking: int) -> RetrievalError:
    remedy = "does it send to the host and port that the agent listens on, and is `serve` running there?"
    return RetrievalError(
        f"{peer} says that it has sent all, and {lacking} of {asked} images did not come",
        permanent=False,
        remedy=remedy if lacking == asked else "",
    )


def _ended_abnormally(tries: int) -> RetrievalError:
    return RetrievalError(f"fetching it ended abnormally {tries} times", permanent=True)
