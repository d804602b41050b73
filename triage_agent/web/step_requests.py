"""What requests about workitems say besides their bodies (PS3.18 sections 8.3.4 and 11)."""

from collections.abc import Sequence
from urllib.parse import quote

from fastapi import HTTPException, Request
from pydicom.dataset import Dataset

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.steps.data import text_of
from triage_agent.steps.dicom_json import read_keys
from triage_agent.web.events import PATH as EVENTS

JSON = "application/dicom+json"
PREFIX = "/dicom-web"
UID_NAMES = ("workitem", "AffectedSOPInstanceUID", "SOPInstanceUID")
TRANSACTION_NAMES = ("transaction-uid", "transaction", "TransactionUID", "00081195")

_NO_KEYS = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "accept", "charset", "deletionlock", "filter"}
)
_MOST_KEYS = 50


def search_keys(request: Request, more: Sequence[tuple[str, str]] = ()) -> Dataset:
    """The matching keys of the query, and those that stand elsewhere.

    Raises:
        InvalidDatasetError: there are too many, or one is none.
    """
    given = [(name, value) for name, value in request.query_params.multi_items() if name not in _NO_KEYS]
    if len(given) + len(more) > _MOST_KEYS:
        raise InvalidDatasetError("too many keys")
    return read_keys([*given, *more])


def service_url(request: Request) -> str:
    """Our own URL, as the caller knows it."""
    return str(request.url.replace(path=PREFIX + "/workitems", query="", fragment=""))


def channel_url(request: Request, receiver: str) -> str:
    """Where a subscriber listens for events."""
    scheme = "wss" if request.url.is_secure else "ws"
    return str(request.url.replace(scheme=scheme, path=f"{EVENTS}/{quote(receiver)}", query="", fragment=""))


def uid_in_query(request: Request, names: tuple[str, ...]) -> str:
    """A UID in the query: alone, as PS3.18 section 11.4.1 has it, or by one of the names that clients use."""
    if request.url.query and "=" not in request.url.query:
        return request.url.query
    return next((request.query_params[name] for name in names if name in request.query_params), "")


def own_uid(given: Dataset) -> str:
    """The UID that a posted workitem says of itself; as the command has it, it is no attribute of a workitem."""
    said = text_of(given, "AffectedSOPInstanceUID")
    if said:
        del given.AffectedSOPInstanceUID
    return said or text_of(given, "SOPInstanceUID")


def filter_keys(request: Request) -> Dataset:
    """The keys of a filtered subscription: in `filter`, between commas, or each a parameter of its own."""
    given = []
    for pairs in request.query_params.getlist("filter"):
        given += [(name.strip(), value) for name, _, value in (pair.partition("=") for pair in pairs.split(","))]
    return search_keys(request, given)


def number_in_query(request: Request, key: str, default: int, most: int) -> int:
    """A number in the query.

    Raises:
        InvalidDatasetError: it is none, or too large.
    """
    text = request.query_params.get(key, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise InvalidDatasetError(f"{key} is a number up to {most}")
    return int(text) if text else default


def require_json(request: Request) -> None:
    """Refuse who takes no DICOM JSON.

    Raises:
        HTTPException: 406.
    """
    accepted = request.headers.get("accept", "*/*").lower()
    if not any(kind in accepted for kind in (JSON, "application/json", "application/*", "*/*")):
        raise HTTPException(406, f"{JSON} is what there is")
