"""One study's journey: its steps, each with a beginning and an end, told to whoever wants to know of them.

Who tells of a step names the studies that it is about. Where a batch is about several, and what does the work knows
files alone (a decoder, a model), `holding` says whose they are, in the thread that works.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

STEPS = ("receive", "claim", "decode", "score", "decide", "build", "commit", "deliver", "acknowledged")
"""In the order in which a study goes through them; "study" is the way from its first image to its first decision."""

WHOLE = "study"

_SALT = b"triage-agent journey\0"

Details = dict[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that was done for a study.

    Attributes:
        name: one of `STEPS`, or `WHOLE`.
        began, ended: nanoseconds since 1970 (UTC), by this machine's clock; how long it took, by one that nobody sets.
        error: the type of what it failed with; "" where it did not.
        details: words of ours and numbers; nothing of who the patient is, and nothing that a peer has written.
    """

    name: str
    study_instance_uid: str
    began: int
    ended: int
    error: str = ""
    details: Details = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Held:
    """What a thread works on: all of its studies, and whose each file is, by the file's name."""

    studies: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


_NOTHING = _Held()
_HELD: ContextVar[_Held | None] = ContextVar("held", default=None)


def ids_of(study_instance_uid: str) -> tuple[int, int]:
    """Of a study's trace (128 bits), and of the span of its whole way (64 bits): digests of its UID, never 0."""
    digest = hashlib.sha256(_SALT + study_instance_uid.encode()).digest()
    return int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1


def trace_id(study_instance_uid: str) -> str:
    """A study's trace, as 32 hexadecimal digits: the same in every process."""
    return f"{ids_of(study_instance_uid)[0]:032x}"


class Moment:
    """A time from which on something is measured."""

    __slots__ = ("_counted", "began")

    def __init__(self) -> None:
        self.began = time.time_ns()
        self._counted = time.perf_counter_ns()

    @property
    def ended(self) -> int:
        """Now, as far from `began` as a clock says that nobody sets; nanoseconds since 1970."""
        return self.began + time.perf_counter_ns() - self._counted

    @property
    def seconds(self) -> float:
        """Since then."""
        return (time.perf_counter_ns() - self._counted) / 1e9


class Journey:
    """Tells of steps; costs next to nothing where nobody wants to know."""

    def __init__(self, tell: Callable[[Step], None] | None = None) -> None:
        """`tell` must return at once and raise nothing."""
        self._tell = tell

    def told(self, name: str, studies: Collection[str], since: Moment, **details: str | float) -> None:
        """A step that ends now."""
        if self._tell is not None:
            self._each(name, studies, since, "", details)

    @contextmanager
    def step(
        self, name: str, studies: Collection[str] | None = None, *, file: str = "", **details: str | float
    ) -> Iterator[Details]:
        """The block is a step of these studies, else of those that the thread holds: of the file's, or of all.

        What the block puts into the mapping that it gets is told, too.
        """
        if self._tell is None:
            yield details
            return
        if studies is None:
            held = _HELD.get() or _NOTHING
            studies = [held.files[file]] if file in held.files else held.studies
        since, error = Moment(), ""
        try:
            yield details
        except Exception as raised:
            error = type(raised).__name__
            raise
        finally:
            self._each(name, studies, since, error, details)

    @contextmanager
    def holding(self, since: Moment, files: Mapping[str, str]) -> Iterator[None]:
        """In the block this thread works on these files ({name: study}), which it has claimed since then."""
        if self._tell is None:
            yield
            return
        held = _Held(tuple(dict.fromkeys(files.values())), files)
        self.told("claim", held.studies, since)
        before = _HELD.set(held)
        try:
            yield
        finally:
            _HELD.reset(before)

    def whole(self, study_instance_uid: str, began: float) -> None:
        """A study's way from its first image, at `began` (seconds since 1970), ends now with its first decision."""
        if self._tell is not None:
            first = round(began * 1e9)
            ended = max(first, time.time_ns())
            self._tell(Step(name=WHOLE, study_instance_uid=study_instance_uid, began=first, ended=ended))

    def _each(self, name: str, studies: Collection[str], since: Moment, error: str, details: Details) -> None:
        if self._tell is None:
            return
        ended = since.ended
        for study in studies:
            self._tell(
                Step(
                    name=name,
                    study_instance_uid=study,
                    began=since.began,
                    ended=ended,
                    error=error,
                    details=dict(details),
                )
            )


NOWHERE = Journey()
"""Nobody wants to know."""
