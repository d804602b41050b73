"""The reading room that is asked about: who comes, what the software flags, who reads, in which order."""

from collections.abc import Iterator
from dataclasses import dataclass

from triage_agent.domain.errors import ConfigurationError

_MOST_DISEASES = 10
_MOST_READERS = 200
_SHORTEST_READ, _LONGEST_READ = 0.01, 1440.0  # minutes
_IDLE, _FULL = 1e-6, 1 - 1e-6  # loads between which the formulas are good to many decimals
_RAREST = 1e-9  # share of a kind of study that is worth a thought
_WIDEST_SPREAD = 10.0
_LONGEST_NAME = 40

STAT = 0  # the class of studies that were ordered STAT: before every flag


@dataclass(frozen=True, slots=True)
class Disease:
    """One condition, and the software that looks for it.

    Attributes:
        name: what the results call it.
        prevalence: share of all studies that show it, 0 to 1. A study shows one disease at most.
        sensitivity: share of those that the software flags.
        specificity: share of all other studies, also those with another disease, that it does not flag.
        read_minutes: mean time to read a study that shows it.

    Raises:
        ConfigurationError: one of them is out of its range.
    """

    name: str
    prevalence: float
    sensitivity: float
    specificity: float
    read_minutes: float

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _LONGEST_NAME:
            raise ConfigurationError("a disease has no name, or a long one", remedy=f"1 to {_LONGEST_NAME} characters")
        for name in ("prevalence", "sensitivity", "specificity"):
            share(f"the {name} of {self.name}", getattr(self, name))
        minutes(f"the time to read {self.name}", self.read_minutes)


@dataclass(frozen=True, slots=True)
class Cell:
    """Studies that are alike in everything that the model knows.

    Attributes:
        share: of all studies, above 0.
        stat: ordered STAT; such a study's place does not depend on a flag.
        disease: what it shows; None is nothing.
        flagged: by any of the software.
        flag: the class that the software alone would give it, 1 first.
        read_minutes: mean time to read it.
    """

    share: float
    stat: bool
    disease: str | None
    flagged: bool
    flag: int
    read_minutes: float

    @property
    def rank(self) -> int:
        """Its priority class with triage, the most urgent first."""
        return STAT if self.stat else self.flag

    @property
    def rank_without(self) -> int:
        """Its class without triage: STAT, or everybody else in the order of arrival."""
        return STAT if self.stat else STAT + 1


@dataclass(frozen=True, slots=True)
class CaseMix:
    """What comes to the room.

    Attributes:
        diseases: in the order of their urgency.
        read_minutes: mean time to read a study without disease.
        spread: coefficient of variation of the time to read (standard deviation over mean): 1 is exponential, 0 always
            the same.
        stat: share of studies that are ordered STAT.
        alike: every flag is worth the same; otherwise the flag of an earlier disease goes before that of a later one.

    Raises:
        ConfigurationError: one of them is out of its range.
    """

    diseases: tuple[Disease, ...]
    read_minutes: float
    spread: float = 1.0
    stat: float = 0.0
    alike: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.diseases) <= _MOST_DISEASES:
            raise ConfigurationError(f"{len(self.diseases)} diseases", remedy=f"give 1 to {_MOST_DISEASES}")
        if len({disease.name for disease in self.diseases}) < len(self.diseases):
            raise ConfigurationError("two diseases have the same name", remedy="give each its own")
        minutes("the time to read", self.read_minutes)
        share("the share of STAT", self.stat)
        if not 0 <= self.spread <= _WIDEST_SPREAD:  # refuses what is no number, too
            raise ConfigurationError(f"the spread is {self.spread:g}", remedy=f"give 0 to {_WIDEST_SPREAD:g}")
        if sum(disease.prevalence for disease in self.diseases) > 1 + 1e-12:
            raise ConfigurationError(
                "the prevalences add up to more than 1", remedy="a study shows one disease at most"
            )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All kinds of study that there are, their shares adding up to 1."""
        return tuple(self._cells())

    @property
    def mean_read(self) -> float:
        """Minutes that a study takes, on average over all."""
        return sum(cell.share * cell.read_minutes for cell in self.cells)

    def _cells(self) -> Iterator[Cell]:
        healthy = max(0.0, 1 - sum(disease.prevalence for disease in self.diseases))
        shown = [(disease.name, disease.prevalence, disease.read_minutes) for disease in self.diseases]
        for name, prevalence, read in [*shown, (None, healthy, self.read_minutes)]:
            for rank, odds in self._ranks(name):
                flagged = rank <= len(self.diseases)
                for stat, part in ((True, self.stat), (False, 1 - self.stat)):
                    amount = prevalence * odds * part
                    if amount > _RAREST:
                        yield Cell(amount, stat, name, flagged, rank, read)

    def _ranks(self, shown: str | None) -> Iterator[tuple[int, float]]:
        """Each class that a study which shows that may get, with its probability: the first flag counts."""
        unflagged = 1.0
        for number, disease in enumerate(self.diseases, start=1):
            flags = disease.sensitivity if disease.name == shown else 1 - disease.specificity
            if not self.alike:
                yield number, unflagged * flags
            unflagged *= 1 - flags
        if self.alike:
            yield STAT + 1, 1 - unflagged
        yield len(self.diseases) + 1, unflagged


@dataclass(frozen=True, slots=True)
class ReadingRoom:
    """A case mix, and who reads it.

    Attributes:
        mix: what comes, at random moments (a Poisson process).
        readers: who all take from one list.
        per_minute: studies that come.
        preemptive: a reader puts a study aside for a more urgent one and goes on with it later; else finishes it first.

    Raises:
        ConfigurationError: one of them is out of its range, or more comes than can be read.
    """

    mix: CaseMix
    readers: int
    per_minute: float
    preemptive: bool

    def __post_init__(self) -> None:
        if not 1 <= self.readers <= _MOST_READERS:
            raise ConfigurationError(f"{self.readers} readers", remedy=f"give 1 to {_MOST_READERS}")
        if not self.load >= _IDLE:  # refuses what is no number, too
            raise ConfigurationError(f"the load is {self.load:g}", remedy=f"give {_IDLE:g} or more, and less than 1")
        if self.load > _FULL:
            raise ConfigurationError(
                f"a load of {self.load:.4g}: as much comes as can be read, or more, and the list grows for ever",
                remedy="give less than 1: fewer studies, less time for each, or more readers",
            )

    @classmethod
    def at_load(cls, mix: CaseMix, *, readers: int, load: float, preemptive: bool) -> "ReadingRoom":
        """The room in which readers are busy for that share of their time."""
        return cls(mix, readers, load * readers / mix.mean_read, preemptive)

    @property
    def load(self) -> float:
        """Traffic intensity: the share of their time that readers read."""
        return self.per_minute * self.mix.mean_read / self.readers


def share(what: str, value: float) -> None:
    """Refuses what is no share, "not a number" too.

    Raises:
        ConfigurationError: below 0, above 1, or no number.
    """
    if not 0 <= value <= 1:
        raise ConfigurationError(f"{what} is {value:g}", remedy="give a share from 0 to 1")


def minutes(what: str, value: float) -> None:
    """Refuses what is no length of time.

    Raises:
        ConfigurationError: less than a second or so, longer than a day, or no number.
    """
    if not _SHORTEST_READ <= value <= _LONGEST_READ:
        remedy = f"give {_SHORTEST_READ:g} to {_LONGEST_READ:g} minutes"
        raise ConfigurationError(f"{what} is {value:g} minutes", remedy=remedy)
