"""structlog, configured once: JSON or console, no patient data, no forged lines."""

import logging
import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from triage_agent.domain.visible import visible

# Libraries that chatter, a line a tick.
_QUIET_LIBRARIES = (
    "pynetdicom",
    "alembic",
    "uvicorn",
    "transformers",
    "httpx",
    "urllib3",
    "botocore",
    "aiobotocore",
    "s3fs",
)
# Warns of each tick that a slow one made superfluous, as it is told to coalesce them.
_MUTED_LIBRARIES = ("apscheduler",)
# pydicom's remarks quote the values that it remarks on, and those name patients; what matters is raised, not logged.
# OpenTelemetry's come with each batch that a collector does not take; `ops.traces` says so once a minute.
_SILENT_LIBRARIES = ("pydicom", "opentelemetry")
_NO_FILE_LEFT = "socket.accept() out of system resource"
_TOLD_SECONDS = 60.0
_PATIENT_KEYS = frozenset({"patient_name", "patient_id", "patient_birth_date", "accession_number"})


def configure_logging(form: Literal["console", "json"] = "console", level: str = "info") -> None:
    """Send structlog's and the standard library's records to stderr in one form.

    `form` is "json" (one object a line) or "console"; `level` is debug, info, warning or error.
    """
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        without_patient_data,
        on_one_line,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _MUTED_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    asyncio = logging.getLogger("asyncio")
    if not any(isinstance(one, _SeldomOutOfFiles) for one in asyncio.filters):
        asyncio.addFilter(_SeldomOutOfFiles())


class _SeldomOutOfFiles(logging.Filter):
    """asyncio says at each connection that no file is left for it, with a traceback; one line a minute says as much."""

    def __init__(self) -> None:
        super().__init__()
        self._again = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if not str(record.msg).startswith(_NO_FILE_LEFT):
            return True
        record.msg, record.args, record.exc_info = f"{_NO_FILE_LEFT}: raise `ulimit -n`", (), None
        now = time.monotonic()
        if now < self._again:
            return False
        self._again = now + _TOLD_SECONDS
        return True


def without_patient_data(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A last guard: identifying fields never reach a line, whoever passed them."""
    return {key: value for key, value in event.items() if key not in _PATIENT_KEYS}


def on_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Control characters in values are written as escapes, so that no input can forge a line.

    Tracebacks keep their lines: they are ours.
    """
    return {
        visible(key): value if key == "exception" and isinstance(value, str) else _safe(value)
        for key, value in event.items()
    }


def _safe(value: Any) -> Any:
    """Also what stands in lists and mappings, which renderers print as they are."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): _safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(one) for one in value]
    return value
