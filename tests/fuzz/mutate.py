"""Seeded mutations without coverage: what a bounded run of a target needs, and all there is where atheris is not."""

import random

_EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x1b$B",
    b"\xfe\xff",
)


def inputs(seeds, seed):
    """The seeds themselves, then mutations of them, for ever and always the same."""
    yield from seeds
    rng = random.Random(seed)
    while True:
        yield _mutated(rng, rng.choice(seeds), seeds)


def _mutated(rng, data, seeds):
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 1:
                edge = rng.choice(_EDGES)
                changed[at : at + len(edge)] = edge
            case 2:
                del changed[at : at + rng.choice((1, 2, 4, 16, 256))]
            case 3:
                changed[at:at] = changed[at : at + rng.choice((1, 4, 8, 64, 512))]
            case 4:
                del changed[at:]
            case _:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                changed[at:at] = other[start : start + rng.choice((4, 12, 64))]
    return bytes(changed)
