"""A receiver of HL7 v2 messages by MLLP that does what it is told to, and has nothing of the agent's."""

import contextlib
import socket
import threading

START, END = b"\x0b", b"\x1c\r"


def ack(code="AA", control_id="ID42", extra=""):
    return f"MSH|^~\\&|C|D|A|B|20260301||ACK|X|P|2.5.1\rMSA|{code}|{control_id}{extra}\r".encode()


class Receiver:
    """Answers each message with the next of `answers`: bytes to send, None to hang up, ... to stay silent.

    With an SSL context as `tls` hands are shaken first.

    An answer is called when it can be: what it returns is sent.
    """

    def __init__(self, *answers, tls=None):
        self.answers = list(answers)
        self.tls = tls
        self.messages = []
        self.connections = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.open = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections += 1
                self.open.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        pending = b""
        with contextlib.suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.open.append(connection)
            while True:
                received = connection.recv(65536)
                if not received:
                    return
                pending += received
                while END in pending:
                    message, pending = pending.split(END, 1)
                    self.messages.append(message.removeprefix(START))
                    answer = self.answers.pop(0)
                    if answer is None:
                        connection.shutdown(socket.SHUT_RDWR)
                        return
                    for part in [] if answer is ... else [answer] if isinstance(answer, bytes) else answer:
                        connection.sendall(part)

    def close(self):
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)  # first: it may be taking one more connection
        for one in [self.server, *self.open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def framed(body):
    return START + body + END
