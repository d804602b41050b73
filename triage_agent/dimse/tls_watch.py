"""Watches certificates: takes changed ones up, and says in time which will expire."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from triage_agent.dimse.tls import TlsKeeper
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.ports import Clock

log = structlog.get_logger(__name__)

AHEAD = timedelta(days=30)  # of an expiry, from when on it is told

_LOOK_SECONDS = 2.0
_DAY_SECONDS = 86400.0


class CertificateWatch:
    """A thread that looks at the files every few seconds."""

    def __init__(
        self,
        keeper: TlsKeeper,
        clock: Clock,
        *,
        every: float = _LOOK_SECONDS,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._every = every
        self._monotonic = monotonic or time.monotonic
        self._told: dict[str, float] = {}  # when of which certificate was said that it expires
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        """Load the files, and begin to watch them.

        Raises:
            ConfigurationError: they cannot be used.
        """
        identity = self._keeper.identity
        log.info("certificate_loaded", subject=identity.subject, expires=identity.expires.isoformat())
        try:
            self._keeper.verify(self._clock())
        except ConfigurationError as error:  # there is no better one in use, and some peers may not check it
            log.warning("certificate_not_verified", error=str(error))
        self._tell_expiry()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    def reload(self) -> None:
        """Read the files now, whether or not they look changed: an admin says that they have."""
        self.look(at_once=True)

    def look(self, *, at_once: bool = False) -> None:
        """Take up what has changed, or say why it cannot be; warn once a day of what expires soon."""
        try:
            if self._keeper.refresh(at_once=at_once):
                identity = self._keeper.identity
                log.info("certificate_loaded", subject=identity.subject, expires=identity.expires.isoformat())
                self._told.clear()
        except ConfigurationError as error:
            until = self._keeper.identity.expires.isoformat()
            log.error("certificate_not_loaded", error=str(error), in_use_until=until)  # noqa: TRY400 - it says enough
        self._tell_expiry()

    def expiries(self) -> dict[str, datetime]:
        """When our certificate and our CAs expire."""
        identity = self._keeper.identity
        return {"own": identity.expires, "ca": identity.ca_expires}

    def is_current(self) -> bool:
        """Whether the files as they were at the last look are in use."""
        return self._keeper.is_current

    def _tell_expiry(self) -> None:
        now = self._clock()
        for which, expires in self.expiries().items():
            told = self._told.get(which)
            if expires - now > AHEAD or (told is not None and self._monotonic() - told < _DAY_SECONDS):
                continue
            self._told[which] = self._monotonic()
            event = "certificate_expired" if expires <= now else "certificate_expires"
            log.warning(event, certificate=which, expires=expires.isoformat(), days=(expires - now).days)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a bug here must not end the watch
                log.error("certificate_watch_failed", error=type(error).__name__)  # noqa: TRY400 - as everywhere
