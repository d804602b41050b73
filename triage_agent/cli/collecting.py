"""What `check` says of the collector of traces."""

import ssl
from collections.abc import Callable, Iterator

from triage_agent.cli.reaching import CONNECT_SECONDS, connected
from triage_agent.domain.errors import TriageError
from triage_agent.settings import Settings


def looks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """The parts that `check` looks at."""
    if settings.telemetry.traces:
        yield "traces", lambda: look_at_collector(settings)


def look_at_collector(settings: Settings) -> str:
    """Whether there is somebody who could take traces; none are sent, and studies go on without.

    Raises:
        TriageError: nobody answers there, its certificate is not trusted, or the packages for it are missing.
    """
    import triage_agent.ops.traces  # noqa: F401 - raises where `serve` would

    host, port, secure = settings.telemetry.collector()
    with connected(host, port) as connection:
        if not secure:
            return f"{host}:{port} answers"
        ca = settings.telemetry.ca
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError) as error:
            raise TriageError(f"telemetry.ca cannot be used: {_why(error)}", remedy="give a PEM file") from None
        connection.settimeout(CONNECT_SECONDS)
        try:
            with context.wrap_socket(connection, server_hostname=host) as channel:
                return f"{host}:{port} answers by {channel.version()}"
        except OSError as error:  # what OpenSSL finds wrong is one, too
            remedy = "name who signed the collector's certificate in [telemetry] ca, or mend traces"
            raise TriageError(f"{host}:{port}: {_why(error)}", remedy=remedy) from None


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
