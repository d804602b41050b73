"""When to try again: exponential backoff with full jitter, and when to stop. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from random import Random

from triage_agent.domain.errors import ConfigurationError

_LONGEST_PAUSE = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait after an attempt that failed.

    The wait after attempt n is drawn evenly from zero to `first` times 2^(n-1), at most `longest`: many rows that
    failed together are spread, and do not come back together ("full jitter").

    Attributes:
        first: longest wait after the first attempt.
        longest: longest wait after any attempt.
        give_up_after: no attempt is made for longer than this, reckoned by the mean of the waits. Of many rows for a
            destination that is away only one is tried at a time; they have fewer attempts, and live longer.

    Raises:
        ConfigurationError: the first wait is not above zero, or above the longest.
    """

    first: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(minutes=5)
    give_up_after: timedelta = timedelta(hours=72)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.first <= self.longest:
            raise ConfigurationError(
                f"the first retry after {self.first.total_seconds():g} s does not fit the longest wait of "
                f"{self.longest.total_seconds():g} s",
                remedy="make the first above zero, and not above the longest",
            )

    def ceiling(self, attempt: int) -> timedelta:
        """The longest wait after attempt number `attempt`, which counts from 1."""
        doublings = min(max(attempt, 1) - 1, 62)  # 2^62 seconds is past any `longest`, and still a number
        return timedelta(seconds=min(self.first.total_seconds() * 2.0**doublings, self.longest.total_seconds()))

    @cached_property
    def max_attempts(self) -> int:
        """How many attempts fit into `give_up_after` when each wait is its mean, half its ceiling; at least one."""
        attempts, left = 1, self.give_up_after
        while self.ceiling(attempts) < self.longest and left >= self.ceiling(attempts) / 2:
            left -= self.ceiling(attempts) / 2
            attempts += 1
        if self.ceiling(attempts) < self.longest:
            return attempts
        return attempts + int(left / (self.longest / 2))

    def pause(self, failures: int) -> timedelta:
        """How long to leave a destination alone that was away `failures` times in a row.

        Bounded, so that one that came back is soon found.
        """
        return min(self.ceiling(failures), _LONGEST_PAUSE)

    def next_attempt(self, attempt: int, now: datetime, rng: Random) -> datetime | None:
        """When to try again after attempt number `attempt` failed at `now`; None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        return now + self.ceiling(attempt) * rng.random()
