"""Services beside storage: which SOP classes each brings, who may use them, and who answers which request."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt

_NOT_SUPPORTED = 0x0122  # PS3.7 annex C: SOP class not supported

Serve = Callable[[evt.Event], Any]


class Service(Protocol):
    """Something that the server offers besides storing."""

    @property
    def sop_classes(self) -> Mapping[UID, frozenset[str]]:
        """What can be negotiated, each with the permissions of which a peer needs one."""

    @property
    def handlers(self) -> Mapping[evt.InterventionEvent, Serve]:
        """Who answers which kind of request for these SOP classes."""


def answering(services: Iterable[Service]) -> dict[evt.InterventionEvent, Serve]:
    """For each kind of request who answers it: the service whose SOP class it names."""
    by_event: dict[evt.InterventionEvent, dict[str, Serve]] = {}
    for service in services:
        for event, serve in service.handlers.items():
            by_event.setdefault(event, {}).update(dict.fromkeys(map(str, service.sop_classes), serve))
    return {event: _choosing(event, served) for event, served in by_event.items()}


def _choosing(kind: evt.InterventionEvent, served: Mapping[str, Serve]) -> Serve:
    def serve(event: evt.Event) -> Any:
        chosen = served.get(_sop_class(event))
        return chosen(event) if chosen is not None else _refusal(kind)

    return serve


def _refusal(kind: evt.InterventionEvent) -> Any:
    return _nothing() if kind is evt.EVT_C_FIND else (_NOT_SUPPORTED, None)


def _nothing() -> Iterator[tuple[int, Dataset | None]]:
    yield _NOT_SUPPORTED, None


def _sop_class(event: evt.Event) -> str:
    request = event.request
    return str(getattr(request, "AffectedSOPClassUID", None) or getattr(request, "RequestedSOPClassUID", None) or "")
