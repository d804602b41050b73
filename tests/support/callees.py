"""Peers for our client to call, and the client that calls them."""

import contextlib
import socket
import threading
import time

from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer
from support.associations import PATIENCE
from support.instances import DX, EXPLICIT

from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError

_POLL_SECONDS = 0.02


def client(port, ae_title="TRIAGE", calling="PACS", tls=None, **waits):
    peer = Peer(name="peer", ae_title=ae_title, host="127.0.0.1", port=port, may=frozenset(), tls=tls)
    waits = {"connect_seconds": PATIENCE, "answer_seconds": PATIENCE, "idle_seconds": 5.0} | waits
    return DicomClient(peer, calling_ae_title=calling, **waits)


def close_for_sure(event):
    """pynetdicom leaves a socket open, and Python complains later and elsewhere, when its peer hung up first."""
    wire = event.assoc.dul.socket

    def shut():
        with contextlib.suppress(OSError, AttributeError):
            wire.socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(AttributeError):
            wire.socket.close()

    wire._shutdown_socket = shut


@contextlib.contextmanager
def scp(handlers=(), contexts=((DX, EXPLICIT),), *, ae_title="PEER", port=0, seconds=PATIENCE, both_roles=()):
    """A peer made of pynetdicom, to answer as a test wants; yields its port.

    `contexts`: abstract syntaxes, or pairs of one and its transfer syntaxes; of those in `both_roles` it may be the
    user, too.
    """
    entity = AE(ae_title=ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
    for context in contexts:
        abstract, *transfer = (context,) if isinstance(context, str) else context
        roles = {"scu_role": True, "scp_role": True} if abstract in both_roles else {}
        entity.add_supported_context(abstract, *transfer, **roles)
    handlers = [*handlers, (evt.EVT_CONN_OPEN, close_for_sure)]
    server = serve(entity, port, handlers)
    try:
        yield server.server_address[1]
    finally:
        entity.shutdown()


def serve(entity, port, handlers):
    """As `start_server`, but it ends within a moment of being told to, and not within half a second."""
    server = entity.make_server(("127.0.0.1", port), evt_handlers=handlers, server_class=ThreadedAssociationServer)
    server._gc[1] *= 25  # it collects garbage every so many looks
    threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
    entity._servers.append(server)
    return server


class Accepting:
    """Counts associations and keeps what is stored; answers each object with the next of `statuses`."""

    def __init__(self, *statuses):
        self.associations, self.statuses, self.kept = 0, list(statuses), []

    def handlers(self):
        return [(evt.EVT_C_STORE, self.on_store), (evt.EVT_ACCEPTED, self.on_accepted)]

    def on_accepted(self, event):
        self.associations += 1

    def on_store(self, event):
        self.kept.append((event.context.transfer_syntax, event.encoded_dataset(include_meta=False)))
        return self.statuses.pop(0) if self.statuses else 0


def until_it_answers(sending):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            sending.echo()
            break
        except DeliveryError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
