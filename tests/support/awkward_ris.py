"""A RIS that refuses for now, hangs, hangs up, and answers late, twice, out of order or nonsense; it remembers all."""

import contextlib
import socket
import threading
from random import Random

from support.mllp import END, START

BEHAVIOURS = ("AA", "AE", "CE", "hang", "close", "close after taking", "late", "swap", "twice", "other", "junk")


class AwkwardRis:
    """Meets each message as its random numbers say, and well at least every fourth time that it comes.

    `arrived` are the messages that it read, in order, also those that it refused; `taken` those that it keeps.
    """

    def __init__(self, seed, patience=0.25):
        """`patience`: what the sender waits for an answer; a late one comes after it."""
        self._rng, self._patience = Random(seed), patience
        self._lock = threading.Lock()
        self._tries = {}
        self._before = "NONE"
        self.arrived, self.taken, self.met = [], [], set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open, self._threads = [], []
        self._start(self._listen)

    def close(self):
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)  # first: it may be taking one more connection
        for one in [self._server, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target, *args):
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _listen(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection):
        pending = b""
        with contextlib.suppress(OSError):
            while received := connection.recv(65536):
                pending += received
                while END in pending:
                    frame, pending = pending.split(END, 1)
                    self._meet(connection, frame.removeprefix(START))
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _meet(self, connection, message):
        own = message.split(b"|")[9].decode()
        with self._lock:
            tries = self._tries[own] = self._tries.get(own, 0) + 1
            behaviour = "AA" if tries % 4 == 0 else self._rng.choice(BEHAVIOURS)
            self.met.add(behaviour)
            self.arrived.append((own, message))
            if behaviour not in {"AE", "CE", "close", "hang"}:
                self.taken.append((own, message))
            before, self._before = self._before, own
        self._answer(connection, behaviour, own, before)

    def _answer(self, connection, behaviour, own, before):
        match behaviour:
            case "hang":
                return
            case "close" | "close after taking":
                connection.shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            case "late":
                threading.Event().wait(self._patience * 1.5)
                connection.sendall(_ack("AA", own))
            case "swap":
                connection.sendall(_ack("AA", before) + _ack("AA", own))
            case "twice":
                connection.sendall(_ack("AA", own) * 2)
            case "other":
                connection.sendall(_ack("AA", "NOBODY"))
            case "junk":
                connection.sendall(START + b"\xff\x00 no HL7" + END)
            case code:
                connection.sendall(_ack(code, own))


def _ack(code, control_id):
    return START + f"MSH|^~\\&|RIS|H|||||ACK|X|P|2.5.1\rMSA|{code}|{control_id}\r".encode() + END
