"""Errors that say what to do about them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triage_agent.domain.study import ImageScore


class TriageError(Exception):
    """Something the agent reports in one line: what happened, and the remedy."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class ConfigurationError(TriageError):
    """The configuration is wrong: commands exit with 2."""


class ProblemsError(ConfigurationError):
    """A file of the configuration is wrong: each problem with its line, in the order of lines.

    Attributes:
        lines: "FILE:LINE: what; how to mend", one a problem.
    """

    def __init__(self, where: str, problems: Sequence[tuple[int, str]]) -> None:
        self.lines = tuple(f"{where}:{line}: {what}" for line, what in problems)
        super().__init__("\n".join(self.lines))


class MissingPackageError(ConfigurationError):
    """A package that only an extra of this distribution brings is not installed."""

    def __init__(self, module: str, *, extra: str) -> None:
        super().__init__(f"{module.partition('.')[0]} is not installed", remedy=how_to_install(extra))


def how_to_install(extra: str) -> str:
    """The remedy that names an extra: from the clone, since PyPI's `triage-agent` is another project."""
    return f"`pip install --constraint constraints.txt '.[{extra}]'` in the agent's clone"


class IllegalTransitionError(TriageError):
    """A status change that the table does not allow: a bug, or two writers."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f"a study that is {status} cannot be {event}")


class ImagesFailedError(TriageError):
    """The model failed on some of the images that it was given, and it is known on which.

    Attributes:
        results: one for each image, in order: its score, or why it has none.
    """

    def __init__(self, message: str, results: "Sequence[ImageScore | str]") -> None:
        super().__init__(message)
        self.results = tuple(results)


class InvalidDatasetError(TriageError):
    """A received data set without the identifiers it must have; answered with 0xA900."""


class StorageExhaustedError(TriageError):
    """No room to keep a received instance; answered with 0xA700, the sender retries."""


class WorklistUnavailableError(TriageError):
    """The database cannot be reached or is locked; answered with 0xA700, the sender retries."""


class UnreadableImageError(TriageError):
    """Pixel data that cannot be turned into a displayable image; the study needs a human."""


class BundleError(TriageError):
    """A model bundle that is missing, incomplete, or does not match its digests."""


class ModelUnavailableError(TriageError):
    """The model scores nothing at all: no study's fault, so that the work is given back and tried again."""


class DecoderUnavailableError(ModelUnavailableError):
    """No stored file can be read at the moment: no study's fault either."""


class DeliveryError(TriageError):
    """A destination did not take an artifact.

    Attributes:
        permanent: True when a retry of the same bytes cannot succeed.
        away: True when the destination could not be reached or did not answer: no other artifact would fare better.
        retry_after: how long the destination asked to be left alone; None where it did not.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool,
        remedy: str = "",
        away: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.permanent = permanent
        self.away = away
        self.retry_after = retry_after
