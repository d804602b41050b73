"""The audit console: the records in words, filtered; their export; the chain under them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.audit_asking import A_PAGE, Asked, Mistyped, asked_of, typed_of
from triage_agent.web.site.audit_chain import AuditParts, ChainStatus, Job, Verifier, chain_status
from triage_agent.web.site.audit_export import Exports, begun, lines_of
from triage_agent.web.site.audit_words import EVENTS, GROUPS, SAYINGS, line_of
from triage_agent.web.site.gate import Gate, Visitor, available, visitor_of
from triage_agent.web.site.pages import Pages

_MOST_STUDIES = 500  # of the patients that a text names
_NAMED = 20  # of them, in the record of the question
_DAYS = {"0": "the whole log", "1": "sealed in the last day", "7": "in the last 7 days", "31": "in the last 31 days"}
_SEE_OTHER = 303
_KINDS = {"csv": "text/csv; charset=utf-8", "xml": "application/xml"}


@dataclass(frozen=True, slots=True)
class _Patient:
    """The studies that a text names; None where nobody asked."""

    studies: tuple[str, ...] | None
    more: bool = False


class Auditing:
    """The routes."""

    def __init__(self, gate: Gate, worklist: Worklist, parts: AuditParts, pages: Pages, clock: Clock) -> None:
        self.router = gate.router()
        self.verifier = Verifier(parts, worklist.record_audit, clock)
        self._gate = gate
        self._parts = parts
        self._pages = pages
        self._clock = clock
        self._exports = Exports()
        get = self.router.get
        get("/audit")(self.listed)
        get("/api/audit")(self.as_json)
        get("/audit/export")(self.exported)
        get("/audit/chain")(self.chain)
        get("/api/audit/chain")(self.chain_as_json)
        self.router.post("/audit/verify")(self.verify)

    def listed(self, request: Request) -> Response:
        """The records, newest first."""
        visitor, asked = visitor_of(request), typed_of(request.query_params)
        if isinstance(asked, Mistyped):
            return self._page(visitor, Asked(), asked.typed, wrong=asked.wrong)
        records, patient = self._records(visitor, asked)
        return self._page(visitor, asked, asked.typed, records, patient)

    def _page(
        self,
        visitor: Visitor,
        asked: Asked,
        typed: Mapping[str, str],
        records: Sequence[AuditRecord] = (),
        patient: _Patient = _Patient(None),
        wrong: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        """The page: with what was found, or with what is wrong with the form, which is not lost."""
        return self._pages.show(
            "audit.html",
            visitor,
            400 if wrong else 200,
            asked=asked,
            typed=typed,
            wrong=wrong,
            lines=[line_of(record) for record in records],
            older=asked.address(before=records[-1].id) if len(records) == A_PAGE else "",
            patient=patient,
            masked=visitor.masked,
            most_studies=_MOST_STUDIES,
            groups=_GROUPED,
            group_words=GROUPS,
            event_words=EVENTS,
            chain=self._status(),
        )

    def as_json(self, request: Request) -> Response:
        """The same for programs."""
        records, _ = self._records(visitor_of(request), asked_of(request.query_params))
        return JSONResponse([_as_json(record) for record in records])

    def exported(self, request: Request, form: Literal["csv", "xml"] = "csv") -> Response:
        """What is filtered, oldest first, as rows or as DICOM audit messages."""
        visitor, asked = visitor_of(request), asked_of(request.query_params)
        patient = self._patient(visitor, asked)
        place = self._exports.require_room()
        try:
            self._audit(AuditAction.AUDIT_EXPORTED, visitor, asked, patient, format=form)
            with available():
                lines = begun(lines_of(self._parts, asked.question(patient.studies), form, masked=visitor.masked))
        except BaseException:  # whatever it was: the place would be held for half an hour
            self._exports.leave(place)
            raise
        name = f"audit-{self._clock().strftime('%Y%m%dT%H%M%SZ')}.{form}"
        return StreamingResponse(
            self._exports.stream(place, lines),
            media_type=_KINDS[form],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def chain(self, request: Request) -> Response:
        """How far the chain is, and the last verification."""
        status = self._status()
        return self._pages.show(
            "audit_chain.html",
            visitor_of(request),
            asked=asked_of(request.query_params),
            chain=status,
            job=self.verifier.job,
            days=_DAYS,
        )

    def chain_as_json(self) -> Response:
        """How far the verification is."""
        return JSONResponse(_job_as_json(self.verifier.job))

    def verify(self, request: Request) -> Response:
        """Begin a verification."""
        visitor = visitor_of(request)
        days = visitor.form.get("days", "0")
        if days not in _DAYS:
            raise HTTPException(400, "The form has a value that cannot be understood.")
        with available():
            started = self.verifier.start(visitor.name, visitor.address, int(days))
        if not started:
            raise HTTPException(409, "A verification runs already. One at a time does.")
        return RedirectResponse("/audit/chain", _SEE_OTHER)

    def _status(self) -> ChainStatus:
        """How far the chain is, and what the last verifications found."""
        with available():
            return chain_status(self._parts, self._clock())

    def _records(self, visitor: Visitor, asked: Asked) -> tuple[Sequence[AuditRecord], _Patient]:
        """What was asked for; that it was read is audited first."""
        patient = self._patient(visitor, asked)
        self._audit(AuditAction.AUDIT_READ, visitor, asked, patient)
        with available():
            return self._parts.log.records(asked.question(patient.studies)), patient

    def _patient(self, visitor: Visitor, asked: Asked) -> _Patient:
        """Who sees no names finds none either: else the search would tell them, letter by letter."""
        if not asked.patient:
            return _Patient(None)
        if visitor.masked:
            raise HTTPException(403, "Your account sees no patients, and cannot ask for one.")
        with available():
            found = tuple(self._parts.log.studies_of_patient(asked.patient, _MOST_STUDIES + 1))
        return _Patient(found[:_MOST_STUDIES], len(found) > _MOST_STUDIES)

    def _audit(self, action: AuditAction, visitor: Visitor, asked: Asked, patient: _Patient, **detail: object) -> None:
        """Before anything is shown. Records name no patient: of one who was asked for it names the studies."""
        said: dict[str, object] = {**asked.said(), **detail}
        if patient.studies is not None:
            said |= {"of_a_patient": len(patient.studies), "studies": list(patient.studies[:_NAMED])}
        self._gate.record(visitor, action, asked.study or None, **said)


_GROUPED = {
    group: [action for action in AuditAction if action.value in SAYINGS and SAYINGS[action.value].group is group]
    for group in GROUPS
}


def _as_json(record: AuditRecord) -> dict[str, object]:
    try:
        event = record.event
    except ValueError:  # not as the agent wrote it
        stored = {"at": str(record.at), "action": str(record.action), "actor": str(record.actor)}
        study = None if record.study_instance_uid is None else str(record.study_instance_uid)
        return {"number": record.id, **stored, "study_instance_uid": study, "detail": str(record.detail)}
    return {
        "number": record.id,
        "at": event.at.isoformat(),
        "action": event.action.value,
        "actor": event.actor,
        "study_instance_uid": event.study_instance_uid,
        "detail": dict(event.detail),
    }


def _job_as_json(job: Job | None) -> Mapping[str, object]:
    if job is None:
        return {"running": False}
    found: dict[str, object] = {"running": job.running, "percent": job.percent, "by": job.by, "error": job.error}
    if job.report is not None:
        found |= {"intact": job.report.intact, "wrong": job.report.wrong, "records": job.report.records}
    return found
