"""QIDO-RS and WADO-RS (PS3.18 sections 10.6 and 10.4) for the DICOM objects that we made, and for nothing else.

A search names a study or an accession number: nobody lists all patients here. Who retrieved what is in the audit trail.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydicom import Dataset, dcmread
from pydicom.tag import Tag

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.quiet import quiet
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.access import Access, address_of

_JSON = "application/dicom+json"
_MOST = 100  # objects of a study, and studies of an accession number
_LONGEST_NAME = 64  # of an accession number or UID
# What a search returns of each level (PS3.18 tables 10.6.3-3 to 10.6.3-5), where the object has it.
_OF_STUDY = (
    *("SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName"),
    *("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "TimezoneOffsetFromUTC"),
)
_OF_SERIES = ("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber")
_OF_INSTANCE = ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames")
_BULK = ("PixelData", "EncapsulatedDocument")
_STUDY_KEYS = frozenset({"StudyInstanceUID", "0020000D"})
_NAME_KEYS = _STUDY_KEYS | {"AccessionNumber", "00080050"}
_PAGING = frozenset({"limit", "offset", "includefield", "fuzzymatching"})


@dataclass(frozen=True, slots=True)
class Result:
    """An object that we made."""

    artifact: Artifact
    header: Dataset

    @property
    def series(self) -> str:
        """Its Series Instance UID."""
        return str(self.header.SeriesInstanceUID)


class Results:
    """The service."""

    def __init__(
        self,
        access: Access,
        worklist: Worklist,
        clock: Clock,
        asked: Callable[[str, str], None] = lambda _caller, _address: None,
    ) -> None:
        """`asked` is told who searches, and from where, before anything is shown."""
        self.router = APIRouter(prefix="/dicom-web")
        self._access = access
        self._worklist = worklist
        self._clock = clock
        self._asked = asked
        get = self.router.get
        get("/studies")(self.studies)
        get("/studies/{study}/series")(self.series)
        for below in ("", "/series/{series}"):
            get("/studies/{study}" + below + "/instances")(self.instances)
            get("/studies/{study}" + below + "/metadata")(self.metadata)
            get("/studies/{study}" + below)(self.retrieve)
        get("/studies/{study}/series/{series}/instances/{instance}/metadata")(self.metadata)
        get("/studies/{study}/series/{series}/instances/{instance}")(self.retrieve)

    def studies(self, request: Request) -> Response:
        """Search for studies of which there are results."""
        self._searched(request)
        name = _named(request.query_params)
        with _available():
            uids = list(self._worklist.studies_called(name))[:_MOST]
        found = [results for uid in uids if (results := self._results(uid))]
        return _found(request, [_study(results) for results in found])

    def series(self, request: Request, study: str) -> Response:
        """Search for series with our results."""
        self._searched(request)
        results = self._results(study)
        first = {result.series: result for result in reversed(results)}
        return _found(request, [_attributes(one.header, (*_OF_STUDY, *_OF_SERIES)) for one in first.values()])

    def instances(self, request: Request, study: str, series: str = "") -> Response:
        """Search for our results."""
        self._searched(request)
        keywords = (*_OF_STUDY, *_OF_SERIES, *_OF_INSTANCE)
        return _found(request, [_attributes(one.header, keywords) for one in self._results(study, series)])

    def metadata(self, request: Request, study: str, series: str = "", instance: str = "") -> Response:
        """Every element of our results but bulk data."""
        results = self._wanted(request, study, series, instance)
        return _json([_without_bulk(result) for result in results])

    def retrieve(self, request: Request, study: str, series: str = "", instance: str = "") -> Response:
        """Our results, a file a part."""
        results = self._wanted(request, study, series, instance)
        accepted = request.headers.get("accept", "*/*").lower()
        if not any(kind in accepted for kind in ("multipart/related", "multipart/*", "*/*")):
            raise HTTPException(406, 'multipart/related; type="application/dicom" is what there is')
        bodies = [result.artifact.body for result in results]
        boundary = hashlib.sha256(b"".join(bodies)).hexdigest()  # not in them, or SHA-256 is broken
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + body + b"\r\n" for body in bodies
        ]
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return Response(b"".join(parts) + f"--{boundary}--\r\n".encode(), headers={"Content-Type": kind})

    def _searched(self, request: Request) -> None:
        """Somebody who may search does."""
        caller = self._access.admit(request, "read")
        with _available():
            self._asked(caller, address_of(request))

    def _wanted(self, request: Request, study: str, series: str, instance: str) -> list[Result]:
        """What is to be handed out, which is audited before it is."""
        caller = self._access.admit(request, "read")
        found = self._results(study, series)
        results = [result for result in found if instance in {"", result.artifact.uid}]
        if not results:
            raise self._none_such(study, series, instance)
        event = AuditEvent(
            at=self._clock(),
            action=AuditAction.RESULTS_READ,
            actor=caller,
            study_instance_uid=study,
            detail={"instances": [result.artifact.uid for result in results]},
        )
        with _available():
            self._worklist.record_audit(event)
        return results

    def _none_such(self, study: str, series: str, instance: str) -> HTTPException:
        """Gone, where it was withdrawn (PS3.18 section 8.5), else not found."""
        with _available():
            withdrawn = self._worklist.withdrawn_of(study, _MOST)
        named = [one for one in withdrawn if instance in {"", one.uid}]
        known = [one for one in named if one.body or one.header]  # what an older version let go has no header
        if any(series in {"", _header_of(one).series} for one in known) or (instance and len(known) < len(named)):
            return HTTPException(410, "this result was withdrawn; a rejection note in its study says why")
        return HTTPException(404, "there is no such result")

    def _results(self, study: str, series: str = "") -> list[Result]:
        for uid in filter(None, (study, series)):
            if not is_uid(uid):
                raise HTTPException(400, "what the path names is no UID")
        with _available():
            artifacts = self._worklist.results_of(study, _MOST)
        results = [_header_of(one) for one in artifacts]
        return [result for result in results if series in {"", result.series}]


def _header_of(artifact: Artifact) -> Result:
    with quiet():
        return Result(artifact, dcmread(BytesIO(artifact.body or artifact.header)))


class _available:  # noqa: N801 - reads as a statement
    """A database that is away is 503, and not a fault of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, WorklistUnavailableError):
            raise HTTPException(503, "the worklist is away", {"Retry-After": "10"}) from None


def _named(query: Mapping[str, str]) -> str:
    """The study or accession number that a search is for.

    Raises:
        HTTPException: 400 where it names none, or asks for what is not matched here.
    """
    unknown = query.keys() - _NAME_KEYS - _PAGING
    names = [value for key, value in query.items() if key in _NAME_KEYS]
    if unknown or len(names) != 1 or not 0 < len(names[0]) <= _LONGEST_NAME or set(names[0]) & {"*", "?"}:
        raise HTTPException(400, "search by StudyInstanceUID or AccessionNumber, one value without wildcards")
    return names[0]


def _study(results: Sequence[Result]) -> dict[str, Any]:
    said = _attributes(results[0].header, _OF_STUDY)
    modalities = sorted({str(result.header.get("Modality", "")) for result in results} - {""})
    said["00080061"] = {"vr": "CS", "Value": modalities}
    said["00201206"] = {"vr": "IS", "Value": [len({result.series for result in results})]}
    said["00201208"] = {"vr": "IS", "Value": [len(results)]}
    return dict(sorted(said.items()))


def _attributes(header: Dataset, keywords: Iterable[str]) -> dict[str, Any]:
    some = Dataset()
    for keyword in keywords:
        if keyword in header:
            some[keyword] = header[keyword]
    return dict(some.to_json_dict())


def _without_bulk(result: Result) -> dict[str, Any]:
    left = Dataset()
    for element in _elements(result.header):
        left.add(element)
    return dict(left.to_json_dict())


def _elements(header: Dataset) -> Iterator[Any]:
    bulk = {Tag(keyword) for keyword in _BULK}
    yield from (element for element in header if element.tag not in bulk)


def _found(request: Request, matches: Sequence[dict[str, Any]]) -> Response:
    """A search's answer (PS3.18 section 8.3.4.4): what is asked for of the matches; 204 where there is none."""
    offset, limit = (_number(request, key, default) for key, default in (("offset", 0), ("limit", _MOST)))
    page = matches[offset : offset + limit]
    return _json(page) if page else Response(status_code=204)


def _number(request: Request, key: str, default: int) -> int:
    text = request.query_params.get(key, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6):  # noqa: PLR2004 - no page is that far
        raise HTTPException(400, f"{key} is a number")
    return int(text) if text else default


def _json(content: object) -> Response:
    return Response(json.dumps(content), media_type=_JSON)
