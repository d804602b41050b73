"""What readers say of results: the form on the page of a study, and all of it as a table."""

import secrets

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from triage_agent.domain.feedback import FeedbackBook, Verdict, plain_note
from triage_agent.domain.ports import Clock
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.labelled.deidentify import Secret
from triage_agent.labelled.export import csv_of, rows_of
from triage_agent.web.site.gate import Gate, available, visitor_of

_SEE_OTHER = 303
_MOST = 20_000  # rows; the command has more


class Judging:
    """The routes."""

    def __init__(self, gate: Gate, feedback: FeedbackBook, clock: Clock) -> None:
        self.router = gate.router()
        self._gate = gate
        self._feedback = feedback
        self._clock = clock
        self.router.post("/studies/{uid}/feedback")(self.give)
        self.router.post("/feedback/export")(self.export)

    def give(self, request: Request, uid: str) -> Response:
        """Keep what a reader says; what they said before of the study stays, superseded."""
        visitor = visitor_of(request)
        try:
            verdict, note = Verdict(visitor.form.get("verdict", "")), plain_note(visitor.form.get("note", ""))
        except ValueError:
            raise HTTPException(400, "Choose what you think of it; a note has at most 1000 characters.") from None
        with available():
            kept = is_uid(uid) and self._feedback.give(uid, visitor.name, verdict, note, self._clock())
        if not kept:
            raise HTTPException(404, "There is no such study on this worklist.")
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"done": True, "to": "#feedback-given"})
        return RedirectResponse(f"/studies/{uid}#feedback-given", _SEE_OTHER)

    def export(self, request: Request) -> Response:
        """What readers said, as `feedback export` writes it, without images; audited before it leaves."""
        visitor = visitor_of(request)
        with available():
            studies = self._feedback.labelled(None, None, _MOST)
        self._gate.record(visitor, AuditAction.FEEDBACK_EXPORTED, rows=len(studies), images=0)
        table = csv_of(rows_of(studies, Secret(secrets.token_bytes(32))))
        named = {"Content-Disposition": 'attachment; filename="feedback.csv"'}
        return Response(table, media_type="text/csv; charset=utf-8", headers=named)
