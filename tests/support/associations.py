"""Peers of a listener that do as they are told, well-behaved or not, down to the byte."""

import socket
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_STORE
from support.instances import DX, EXPLICIT, dx, encode

from triage_agent.dimse import association as machinery
from triage_agent.dimse.outgoing import BoundedEntity

VERIFICATION = "1.2.840.10008.1.1"
PATIENCE = 60.0  # seconds; everything that is waited for takes milliseconds where nothing else runs


def threads():
    """Threads of accepted associations, both the association's and its upper layer's."""
    return [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, (machinery.GuardedAssociation, machinery.UpperLayer))
    ]


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def associate(port, sop_class=DX, syntax=EXPLICIT, calling="PACS"):
    entity = BoundedEntity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE
    return entity.associate("127.0.0.1", port, contexts=[build_context(sop_class, syntax)], ae_title="TRIAGE")


def send(association, data_set):
    """The status of sending a data set as it is encoded here."""
    return send_bytes(association, encode(data_set), data_set.SOPInstanceUID)


def send_bytes(association, encoded, sop_instance_uid, sop_class=DX):
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_instance_uid
    request.DataSet = BytesIO(encoded)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer.Status if answer else None


def healthy(listening):
    """Whether a well-behaved peer is served."""
    association = associate(listening.port)
    if not association.is_established:
        return False
    status = send(association, dx())
    association.release()
    return status == 0


def request_pdu(calling="PACS", called="TRIAGE", contexts=((VERIFICATION, EXPLICIT),)):
    """An encoded A-ASSOCIATE-RQ."""
    entity, caught = BoundedEntity(calling), []
    entity.acse_timeout = entity.network_timeout = 1  # for an answer that nobody gives

    def catch(server):
        connection, _ = server.accept()
        with connection:
            caught.append(connection.recv(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=catch, args=[server])
        thread.start()
        proposed = [build_context(*context) for context in contexts]
        entity.associate("127.0.0.1", server.getsockname()[1], contexts=proposed, ae_title=called)
        thread.join()
    return caught[0]


def answer_to(port, sent, seconds=PATIENCE, more=False):
    """Everything the listener says to raw bytes, after which `more` may come or not, until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(seconds)
        heard = b""
        try:
            connection.sendall(sent)
            if not more:
                with suppress(OSError):  # hung up on already
                    connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                heard += piece
        except ConnectionError:
            pass
        return heard
