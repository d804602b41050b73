"""What each of several processes has to do, without any of them."""

import pytest
import torch

from triage_agent.learning.ranks import ALONE, Ranks, here


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 2), (7, 3), (2, 4), (0, 2)])
def test_shares_are_even_and_together_the_whole(count, size):
    shares = [list(range(count))[Ranks(rank, size).share(count)] for rank in range(size)]
    assert [one for share in shares for one in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_torchrun_is_believed_and_its_absence_means_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert here() == ALONE
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert here() == Ranks(rank=5, size=8, local=1)
    assert not here().first


def test_each_process_drops_out_by_itself_and_goes_on_drawing_alike():
    def draws(ranks):
        torch.manual_seed(0)
        with ranks.own_draws(3, 1, 4):
            own = torch.rand(3)
        return own, torch.rand(3)

    first, second = draws(Ranks(0, 2)), draws(Ranks(1, 2))
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[0], draws(Ranks(0, 2))[0])


def test_a_process_that_is_alone_draws_on_as_ever():
    torch.manual_seed(0)
    expected = torch.rand(6)
    torch.manual_seed(0)
    with ALONE.own_draws(3, 1, 4):
        first = torch.rand(3)
    assert torch.equal(torch.cat([first, torch.rand(3)]), expected)
