"""Several processes that train one network together, a GPU each; `torchrun` starts them.

All hold the same weights and draw the same random numbers for the data, each computes the gradient of its share of a
batch, and the shares are added up: the result is that of one process, but for rounding. With batch norm it is not quite
that: statistics are those of a share.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = timedelta(hours=6)  # for a rank that embeds while others have nothing left to
_MOST_RANKS = 4096


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this one is; the methods are no-ops where it is alone.

    Attributes:
        rank: from 0, which reports and writes.
        size: how many there are.
        local: which of its machine's, and thereby which GPU is its own.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this one reports and writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` things in a row; parts differ by one at most and may be empty."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each float tensor by its sum over all processes, in place."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, summed in zip(tensors, parts, strict=True):
            tensor.copy_(summed.view_as(tensor))

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of all processes one below the other, by rank; on the CPU."""
        if self.size == 1:
            return rows
        parts: list[Tensor] = [rows] * self.size
        distributed.all_gather_object(parts, rows)
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def own_draws(self, *place: int) -> Iterator[None]:
        """In the body each process draws its own numbers (dropout), fixed by `place` and its rank; after it as before.

        A process that is alone goes on drawing where it is.
        """
        if self.size == 1:
            yield
            return
        seed = 0
        for number in (*place, self.rank):
            seed = (seed * 1_000_003 + number) % (1 << 62)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield


ALONE = Ranks()


def here() -> Ranks:
    """What torchrun says about this process; alone where it says nothing."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if not 1 < size <= _MOST_RANKS:
        return ALONE
    return Ranks(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))


@contextmanager
def together() -> Iterator[Ranks]:
    """Meet the other processes, for as long as the body runs."""
    ranks = here()
    if ranks.size == 1:
        yield ranks
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, rank=ranks.rank, world_size=ranks.size, timeout=PATIENCE)
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()
