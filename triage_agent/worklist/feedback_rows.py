"""The table of what readers say of results."""

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.domain.feedback import LONGEST_NOTE, Verdict
from triage_agent.domain.vocabulary import Finding
from triage_agent.worklist.tables import _SURROGATE, Base, StudyRow
from triage_agent.worklist.types import FittedText, words


class FeedbackRow(Base):
    """One reader's word about a study, with what the agent said then; only ever added, and a trigger sees to it."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("studies.study_instance_uid"))
    revision: Mapped[int]
    reader: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[Verdict] = mapped_column(words(Verdict))
    note: Mapped[str] = mapped_column(FittedText(LONGEST_NOTE))
    at: Mapped[datetime]
    finding: Mapped[Finding | None]
    probability: Mapped[float | None] = mapped_column(Float(53))
    region: Mapped[str | None] = mapped_column(FittedText(64))
    bundle: Mapped[str | None] = mapped_column(FittedText(200))
    rule: Mapped[str | None] = mapped_column(FittedText(200))


Index("ix_feedback_study", FeedbackRow.study_instance_uid, FeedbackRow.id)  # of_study()
Index("ix_feedback_at", FeedbackRow.at)  # given()
Index("ix_studies_bundle", StudyRow.bundle, StudyRow.decided_at)  # what a bundle scored, in a time: see `figures`
