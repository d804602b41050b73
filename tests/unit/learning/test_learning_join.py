import pytest
import torch

from triage_agent.learning.join import fit_shares


def drawn(count, *noises):
    generator = torch.Generator().manual_seed(3)
    labels = (torch.rand(count, generator=generator) < 0.5).double()
    truth = (labels * 2 - 1) * 1.5
    noise = torch.randn(count, len(noises), generator=generator, dtype=torch.float64) * torch.tensor(noises)
    return truth[:, None] + noise, labels, ["here"] * count


def test_members_that_are_about_as_good_count_about_alike():
    shares = fit_shares(*drawn(600, 1.0, 1.1, 0.9))
    assert max(shares) < 1.3 * min(shares)


def test_a_member_that_says_nothing_counts_less():
    logits, labels, homes = drawn(2000, 0.5, 0.5)
    logits[:, 1] = torch.randn(2000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    good, useless = fit_shares(logits, labels, homes)
    assert useless * logits[:, 1].std() < 0.5 * good * logits[:, 0].std()


def test_members_count_alike_whatever_the_scale_of_their_logits():
    logits, labels, homes = drawn(600, 1.0, 1.0)
    plain = fit_shares(logits, labels, homes)
    scaled = fit_shares(logits * torch.tensor([1.0, 10.0]), labels, homes)
    assert scaled[1] * 10 == pytest.approx(plain[1], rel=0.05)
