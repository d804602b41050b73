"""Sockets that several processes accept connections from: made and kept by one, who hands them to the others.

A connection waits in one queue for whoever is free, so that none is lost with a process that ends, as it would be where
each had a queue of its own (SO_REUSEPORT), and nobody has many while another has none.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from pynetdicom.transport import AddressInformation

from triage_agent.dimse.listener import Listener
from triage_agent.dimse.server import ServerSettings, cannot_listen


def listening_sockets(settings: ServerSettings) -> Sequence[socket.socket]:
    """One for each port that the settings ask for, the plain one first; who closes the last copy ends the listening.

    Raises:
        ConfigurationError: an address cannot be listened on, or the certificates cannot be used.
    """
    ports = [settings.port] if settings.plain else []
    if settings.tls is not None:
        settings.tls()
        ports.append(settings.tls_port)
    with ExitStack() as stack:
        made = []
        for port in ports:
            try:
                made.append(stack.enter_context(_listening(settings.host, port)))
            except OSError as error:
                raise cannot_listen(settings.host, port, error) from error
        stack.pop_all()
    return made


def _listening(host: str, port: int) -> socket.socket:
    address = (host, port)
    made = socket.socket(AddressInformation.from_tuple(address).address_family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(Listener.request_queue_size)
        made.settimeout(0.0)  # who comes too late for a connection must not wait for the next one
    except OSError:
        made.close()
        raise
    return made
