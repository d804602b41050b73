"""One exposition for several processes: what each has counted, added up by the one that is scraped."""

from collections.abc import Iterable, Iterator
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Samples = list[tuple[str, dict[str, str], float]]
Family = tuple[str, str, str, Samples]

_ADDED_UP = frozenset({"counter", "histogram"})  # what a gauge shows is the site's, or one process's own
_BIRTH = "_created"  # a time, of which there is no sum


def counted(registry: CollectorRegistry) -> list[Family]:
    """What a process has counted, as JSON can say it: name, type and description of each family, and its samples."""
    return [
        (family.name, family.type, family.documentation, _samples(family.samples))
        for family in registry.collect()
        if family.type in _ADDED_UP
    ]


def _samples(samples: Iterable[Sample]) -> Samples:
    return [(one.name, dict(one.labels), one.value) for one in samples if not one.name.endswith(_BIRTH)]


class AllProcesses(Collector):
    """The families of this process, with what the others have counted; safe to use from many threads."""

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._lock = Lock()
        self._living: dict[str, list[Family]] = {}
        self._ended: list[list[Family]] = []

    def heard(self, process: str, families: Iterable[Family]) -> None:
        """What a process has counted since it started, in place of what it said before."""
        with self._lock:
            self._living[process] = list(families)

    def has_ended(self, process: str) -> None:
        """A process counts no more; what it counted last stays counted."""
        with self._lock:
            families = self._living.pop(process, None)
            if families is not None:
                self._ended = [_summed([*self._ended, families])]

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        with self._lock:
            others = {family[0]: family for family in _summed([*self._ended, *self._living.values()])}
        for family in self._own.collect():
            if (other := others.pop(family.name, None)) is not None and family.type == other[1]:
                mine = (family.name, family.type, family.documentation, _samples(family.samples))
                yield _metric(_summed([[mine], [other]])[0])
            else:
                yield family
        yield from map(_metric, others.values())


def _summed(processes: Iterable[list[Family]]) -> list[Family]:
    """Each family once, and each sample of it."""
    found: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for families in processes:
        for name, kind, documentation, samples in families:
            _, _, values = found.setdefault(name, (kind, documentation, {}))
            for sample, labels, value in samples:
                key = sample, tuple(labels.items())
                values[key] = values.get(key, 0.0) + value
    return [
        (name, kind, documentation, [(sample, dict(labels), value) for (sample, labels), value in values.items()])
        for name, (kind, documentation, values) in found.items()
    ]


def _metric(family: Family) -> Metric:
    name, kind, documentation, samples = family
    metric = Metric(name, documentation, kind)
    for sample, labels, value in samples:
        metric.add_sample(sample, labels, value)
    return metric
