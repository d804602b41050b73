"""What radiologists say of what the agent said; it stands beside the decision, and no score ever changes by it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from triage_agent.domain.vocabulary import Finding

LONGEST_NOTE = 1000  # characters


class Verdict(StrEnum):
    """What a reader thinks of a result."""

    AGREE = "agree"
    MISSED = "missed"  # there is an abnormality that the agent did not find
    OVERCALLED = "overcalled"  # there is none where the agent found one
    WRONG_REGION = "wrong_region"
    POOR_IMAGE = "poor_image"  # nothing can be said of such an image


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the agent had said of the study when somebody judged it; all None where it had said nothing yet."""

    revision: int
    finding: Finding | None
    probability: float | None
    region: str | None
    bundle: str | None
    rule: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One reader's word about one study.

    Attributes:
        number: rises with time; a reader's later word about a study supersedes the earlier.
        note: the reader's own words, which may name the patient: never logged, audited or exported.
    """

    number: int
    study_instance_uid: str
    reader: str
    verdict: Verdict
    note: str
    at: datetime
    said: Said

    @property
    def truth(self) -> Finding | None:
        """What the study shows by this word: abnormal, normal, or None where it does not say."""
        if self.verdict is Verdict.MISSED:
            return Finding.ABNORMAL
        if self.verdict is Verdict.OVERCALLED:
            return Finding.NORMAL
        settled = {Finding.ABNORMAL, Finding.NORMAL}
        return self.said.finding if self.verdict is Verdict.AGREE and self.said.finding in settled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledStudy:
    """Feedback that holds, with whose study it is and where its images lie in the spool.

    Attributes:
        patient_id: only to tell patients apart; it never leaves as it is.
        paths: of the images whose files are there.
    """

    feedback: Feedback
    patient_id: str | None
    paths: tuple[str, ...]


class FeedbackBook(Protocol):
    """Keeps feedback; rows are only added.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def give(self, study_instance_uid: str, reader: str, verdict: Verdict, note: str, now: datetime) -> bool:
        """Keep it with what the agent says at this moment, and its audit event; False where there is no such study."""

    def of_study(self, study_instance_uid: str, limit: int) -> Sequence[Feedback]:
        """What was said of a study, newest first, superseded words too."""

    def given(self, since: datetime | None, until: datetime | None, limit: int) -> Sequence[Feedback]:
        """What was said in a time (`until` itself left out), newest first, superseded words too."""

    def labelled(self, since: datetime | None, until: datetime | None, limit: int) -> Sequence[LabelledStudy]:
        """Of that time's, each reader's last word about each study, oldest first."""


def standing(words: Iterable[Feedback]) -> list[Feedback]:
    """Each reader's last word about each study, oldest first."""
    last: dict[tuple[str, str], Feedback] = {}
    for word in sorted(words, key=lambda one: one.number):
        last.pop(key := (word.study_instance_uid, word.reader), None)
        last[key] = word
    return list(last.values())


def plain_note(text: str) -> str:
    """A note as it is kept: ends of lines as one sign, and no control characters.

    Raises:
        ValueError: it is longer than `LONGEST_NOTE`.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    note = "".join(sign for sign in lines if sign == "\n" or sign.isprintable()).strip()
    if len(note) > LONGEST_NOTE:
        raise ValueError(f"a note has at most {LONGEST_NOTE} characters")
    return note
