"""A connection that we make, with TLS on it."""

import socket
from collections.abc import Callable

from pynetdicom.association import Association
from pynetdicom.transport import T_CONNECT, AddressInformation

from triage_agent.dimse.wire import BoundedSocket
from triage_agent.domain.errors import ConfigurationError

_CONNECT_SECONDS = 30.0  # where the association does not say


class SecureWire(BoundedSocket):
    """Connects first and shakes hands then, each in bounded time; pynetdicom has a timeout for each byte of it only.

    Args:
        secure: shakes hands as the client within so many seconds.
    """

    def __init__(
        self,
        assoc: Association,
        timeout: float,
        *,
        address: AddressInformation,
        secure: Callable[..., socket.socket],
    ) -> None:
        super().__init__(assoc, timeout, address=address)
        self._secure = secure

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect and shake hands; what goes wrong is kept in `failure`."""
        super().connect(primitive)
        if self.socket is None:
            return
        plain = self.socket
        try:
            self.socket = self._secure(plain, seconds=self.assoc.connection_timeout or _CONNECT_SECONDS)
            self.socket.settimeout(self._timeout)
        except (OSError, ConfigurationError) as error:
            plain.close()  # unless it was already, or TLS had taken it over
            self.failure = error if isinstance(error, OSError) else OSError(0, error.message)
            self.socket = None
            self._is_connected = self.connected = False
            primitive.result = "Evt17"  # the reactor, whose thread this is, has not looked at it yet
