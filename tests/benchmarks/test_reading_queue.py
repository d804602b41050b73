"""The two answers of `reading-queue`: how many intervals hold the exact mean, and how far off approximations are.

A minute's work; the figures of docs/capacity.md.
"""

import itertools
import json

from triage_agent.capacity.groups import groups_of, mean_over
from triage_agent.capacity.room import CaseMix, Disease, ReadingRoom
from triage_agent.capacity.simulation import simulate
from triage_agent.capacity.theory import expected_waits

GROUPS = ("diseased", "non_diseased")
SEEDS = 25


def room(load, readers, *, diseased, read=10.0, prevalence=0.1, spread=1.0, preemptive=True):
    mix = CaseMix((Disease("disease", prevalence, 0.9, 0.9, diseased),), read, spread=spread)
    return ReadingRoom.at_load(mix, readers=readers, load=load, preemptive=preemptive)


def held_of(one, studies):
    """How many intervals over all seeds hold the exact mean, and of how many."""
    waits, cells = expected_waits(one), groups_of(one.mix)
    assert waits.exact
    held = []
    for seed in range(SEEDS):
        simulation = simulate(one, seed=seed, studies=studies)
        assert simulation.settled
        for name in GROUPS:
            seen, before = simulation.group(cells[name]), mean_over(cells[name], waits.without)
            after = mean_over(cells[name], waits.triaged)
            pairs = ((seen.without.mean, before), (seen.triaged.mean, after), (seen.saved, before - after))
            held += [estimate.low <= expected <= estimate.high for estimate, expected in pairs]
    return sum(held), len(held)


def approximated():
    """Each room without an exact answer: its mean waits by both, in minutes, and by what share the theory is above."""
    times = ((8.0, 16.0), (10.0, 10.0))
    for readers, preemptive, (read, diseased), spread in itertools.product(
        (2, 4), (True, False), times, (0.5, 1.0, 1.5)
    ):
        one = room(0.8, readers, diseased=diseased, read=read, prevalence=0.15, spread=spread, preemptive=preemptive)
        waits = expected_waits(one)
        if waits.exact:
            continue
        simulation, row = simulate(one, seed=1, studies=100_000), {}
        for name, cells in groups_of(one.mix).items():
            if name in GROUPS:
                mean, seen = mean_over(cells, waits.triaged), simulation.group(cells).triaged.mean
                row[name] = {"theory": mean, "simulated": seen.value, "half": seen.high - seen.value}
                row[name]["above"] = mean / seen.value - 1
        told = {"readers": readers, "preemptive": preemptive, "read": read, "diseased": diseased, "spread": spread}
        yield told | row


def test_how_good_theory_and_simulation_are(results):
    counts = [held_of(room(load, 1, diseased=10.0), studies) for load, studies in ((0.5, 8000), (0.8, 29_200))]
    held, of = (sum(column) for column in zip(*counts, strict=True))
    rooms = list(approximated())
    off = {
        name: (min(row[name]["above"] for row in rooms), max(row[name]["above"] for row in rooms)) for name in GROUPS
    }
    report = {"intervals": {"held": held, "of": of}, "approximation": {"off": off, "rooms": rooms}}
    (results / "reading_queue.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({"intervals": report["intervals"], "off": off, "rooms": len(rooms)}))  # noqa: T201
    assert held / of > 0.9
