"""A mail server in this process (aiosmtpd) that keeps what it takes, and answers as a test wants."""

import email
import email.policy
import ssl
from contextlib import contextmanager

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = "triage", "s3cret-word"


class MailServer:
    """`answers` are said to the next messages, in their order; whatever comes then is taken."""

    def __init__(self, *, tls=None, require_tls=False, login=False, answers=(), refuses=()):
        self.messages, self.logins, self.answers, self.refuses = [], [], [*answers], refuses
        options = {"hostname": "mail.test", "enable_SMTPUTF8": False, "require_starttls": require_tls}
        if login:
            options |= {"authenticator": self._authenticate, "auth_required": True, "auth_require_tls": tls is not None}
        server = self

        class Handler:
            async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd's name
                if address in server.refuses:
                    return "550 5.1.1 no such user"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - as above
                answer = server.answers.pop(0) if server.answers else "250 OK"
                if answer.startswith("250"):
                    server.messages.append(
                        (envelope, email.message_from_bytes(envelope.content, policy=email.policy.SMTP))
                    )
                return answer

        class Loud(Controller):
            def factory(self):
                return SMTP(Handler(), tls_context=tls, **options)

            def _trigger_server(self):
                self.port = self.server.sockets[0].getsockname()[1]  # whichever was free
                super()._trigger_server()

        self._controller = Loud(Handler(), hostname="127.0.0.1", port=0)

    def _authenticate(self, _server, _session, _envelope, mechanism, data):
        self.logins.append(mechanism)
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)

    def start(self):
        self._controller.start()
        return self

    @property
    def port(self):
        return self._controller.port

    def stop(self):
        self._controller.stop(no_assert=True)


@contextmanager
def mail_server(**options):
    server = MailServer(**options).start()
    try:
        yield server
    finally:
        server.stop()


def implicit_tls(files):
    """A server's side of TLS, with no certificate asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context
