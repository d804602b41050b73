"""The one place that touches pynetdicom's process-wide configuration.

What is set, and why:

- `LOG_HANDLER_LEVEL = "none"`: the default handlers format every PDU and message, which costs time for nothing and
  prints identifiers.
- `LOG_REQUEST_IDENTIFIERS`, `LOG_RESPONSE_IDENTIFIERS = False`: identifiers are patient data.
- The `pynetdicom` logger: warnings and errors only, one throttled line each, without tracebacks; they reach the
  agent's log and nobody else's. Only the modules that never see a message's elements may say what they say: the others
  quote them, and a sender may have typed a name into any of them.
- Each of these lines names the peer: the library does not, but it speaks in the association's own threads.
- `register_uid` for storage SOP classes that pynetdicom does not list (see `contexts`).
"""

import logging
import threading

import structlog
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from triage_agent.dimse.contexts import register_storage_sop_classes
from triage_agent.dimse.throttle import Throttle

log = structlog.get_logger(__name__)

_MAY_SPEAK = frozenset({"pynetdicom.transport", "pynetdicom.dul", "pynetdicom.acse", "pynetdicom.ae"})
_LINES = 10
_IDLE = "Network timeout reached"
_WINDOW_SECONDS = 60.0

_once = threading.Lock()
_configured = threading.Event()


class _ToStructlog(logging.Handler):
    """Passes the library's warnings on: what happened and where, never a traceback with its values."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._throttle = Throttle(_LINES, _WINDOW_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line, unless that place in the library logged many within the last minute."""
        association = _speaking()
        if association is not None and _lets_go(association, record):
            log.debug("idle_association_released", **_peer_of(association))
            return
        held_back = self._throttle.admit(f"{record.pathname}:{record.lineno}")
        if held_back is None:
            return
        where = f"{record.name}.{record.funcName}:{record.lineno}"
        log.warning("pynetdicom", where=where, what=_told(record), held_back=held_back, **_peer_of(association))


def _speaking() -> Association | None:
    """The association in whose thread, or in whose upper layer's, this is called."""
    thread = threading.current_thread()
    association = thread.assoc if isinstance(thread, DULServiceProvider) else thread
    return association if isinstance(association, Association) else None


def _peer_of(association: Association | None) -> dict[str, str]:
    if association is None:
        return {}
    peer = association.requestor if association.is_acceptor else association.acceptor
    known = {"peer_ae_title": str(peer.ae_title).strip()} if peer.ae_title else {}
    return known | {"address": peer.address} if peer.address_info is not None else known


def _lets_go(association: Association, record: logging.LogRecord) -> bool:
    """Whether it says that nothing was sent for a while, on an association that is to be released then."""
    return record.msg == _IDLE and association.network_timeout_response == "A-RELEASE"


def _told(record: logging.LogRecord) -> str:
    if isinstance(record.msg, Exception):
        return type(record.msg).__name__
    return record.getMessage().strip()[:200] if record.name in _MAY_SPEAK else ""


def configure_pynetdicom() -> None:
    """Set the library up, once a process; doing it again changes nothing."""
    with _once:
        if _configured.is_set():
            return
        _config.LOG_HANDLER_LEVEL = "none"
        _config.LOG_REQUEST_IDENTIFIERS = False
        _config.LOG_RESPONSE_IDENTIFIERS = False
        logger = logging.getLogger("pynetdicom")
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(_ToStructlog())
        register_storage_sop_classes()
        _configured.set()
