"""The ways to people, each with its words: a channel's e-mail or webhook."""

from datetime import datetime

from triage_agent.delivery.mail import Mailer
from triage_agent.delivery.notice_text import Wording, document_of, subject_of, text_of
from triage_agent.delivery.webhook import Webhook
from triage_agent.domain.notice import Message


class MailOutlet:
    """Tells by e-mail."""

    def __init__(self, mailer: Mailer, wording: Wording, seconds: float) -> None:
        self.seconds = seconds
        self._mailer = mailer
        self._wording = wording

    def send(self, message: Message, at: datetime) -> None:
        """See `Outlet.send`."""
        self._mailer.send(message.uid, subject_of(message, self._wording), text_of(message, self._wording), at)

    def check(self) -> str:
        """See `Outlet.check`."""
        return self._mailer.check()

    def close(self) -> None:
        """See `Outlet.close`."""
        self._mailer.close()


class WebhookOutlet:
    """Tells a program."""

    def __init__(self, webhook: Webhook, wording: Wording, seconds: float, version: str) -> None:
        self.seconds = seconds
        self._webhook = webhook
        self._wording = wording
        self._version = version

    def send(self, message: Message, at: datetime) -> None:  # noqa: ARG002 - a document says when each thing happened
        """See `Outlet.send`."""
        self._webhook.send(message.uid, document_of(message, self._wording, self._version))

    def check(self) -> str:
        """See `Outlet.check`."""
        return self._webhook.check()

    def close(self) -> None:
        """See `Outlet.close`."""
        self._webhook.close()
