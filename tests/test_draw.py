"""Random numbers of samples: the right distribution, independent of one another, and of nobody's company."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from raterhf.models.draw import draw, key_of, normals, sample_keys, uniforms
from raterhf.models.policy import sampling_distributions

SURE = 1e-3  # a right generator fails a test as often, and the seeds are fixed


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return sample_keys(seed, [(5, 6)] * n, ["new:7"] * n)


def p_value(counts: torch.Tensor, expected: torch.Tensor) -> float:
    """Of Pearson's chi-square of counts against what is expected, where anything is."""
    there = expected > 0
    assert counts[~there].sum() == 0
    statistic = ((counts - expected)[there] ** 2 / expected[there]).sum()
    return float(chi2.sf(float(statistic), int(there.sum()) - 1))


def test_numbers_are_those_of_splitmix64():
    """By its definition, in numpy's unsigned integers: a stream that begins at the mixed key and place."""

    def mixed(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    gamma, key = np.uint64(0x9E3779B97F4A7C15), torch.tensor([-5, 0, 2**62])
    with np.errstate(over="ignore"):
        state = mixed(key.numpy().view(np.uint64) + gamma * np.uint64(4))
        bits = mixed(state[:, None] + gamma * np.arange(1, 7, dtype=np.uint64))
        # the published first outputs from state 1234567
        published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
        assert mixed(np.uint64(1234567) + gamma * np.arange(1, 4, dtype=np.uint64)).tolist() == published
    expected = ((bits >> np.uint64(12)).astype(float) + 0.5) / 2**52
    np.testing.assert_array_equal(uniforms(key, 3, 6).numpy(), expected)


def test_a_key_is_of_seed_prompt_rater_and_number():
    prompts, who = [(1, 2), (1, 2), (3,), (1, 2)], ["ann", "bob", "ann", "ann"]
    found = sample_keys(0, prompts, who)
    assert len(set(found.tolist())) == 4
    assert torch.equal(sample_keys(0, prompts[::-1], who[::-1])[[2, 1]], found[[1, 2]])
    assert torch.equal(sample_keys(0, [(1, 2)] * 2, ["ann"] * 2), found[[0, 3]])  # the first and the second of ann
    assert not set(sample_keys(1, prompts, who).tolist()) & set(found.tolist())
    assert key_of(0, "a", b"a") == key_of(0, "a", b"a") != key_of(0, b"a", "a")


@pytest.mark.parametrize(("min_p", "temperature"), [(0.0, 1.0), (0.0, 0.5), (0.2, 1.0), (0.1, 2.0)])
@pytest.mark.parametrize("size", [2, 11, 300])
def test_tokens_are_drawn_from_the_softmax(size, min_p, temperature):
    n, generator = 100_000, torch.Generator().manual_seed(size)
    logits = 1.5 * torch.randn(size, generator=generator)
    kept = torch.softmax(logits, 0)
    kept = torch.where(kept < min_p * kept.max(), 0.0, kept) ** (1 / temperature)
    scores = sampling_distributions(logits[None], min_p, temperature)
    token, _ = draw(scores.expand(n, -1), keys(n), 1)
    assert p_value(torch.bincount(token, minlength=size).double(), n * (kept / kept.sum()).double()) > SURE


def test_the_lead_is_gumbel_about_the_whole_and_says_nothing_of_the_token():
    """Mean gamma and variance pi^2 / 6; standard errors of 100,000 draws: .004 and .012."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, -torch.inf])
    token, lead = draw(logits.expand(100_000, -1), keys(100_000), 1)
    above = lead - logits.logsumexp(0)
    assert float(above.mean()) == pytest.approx(0.5772, abs=0.015) and float(above.var()) == pytest.approx(1.6449, abs=0.05)
    for one in range(4):
        assert float(above[token == one].mean()) == pytest.approx(0.5772, abs=0.05)


@pytest.mark.parametrize("other", ["sample", "step", "seed", "rater", "prompt"])
def test_draws_are_independent_of_those_of_another(other):
    """Pairs of tokens against the product of their distributions, for neighbouring samples, steps and seeds."""
    n, p = 100_000, torch.tensor([0.4, 0.3, 0.2, 0.1])
    scores, first = p.log().expand(n, -1), keys(n + 1)
    second = {
        "sample": (first[1:], 1), "step": (first[:-1], 2), "seed": (keys(n, seed=1), 1),
        "rater": (sample_keys(0, [(5, 6)] * n, ["new:8"] * n), 1), "prompt": (sample_keys(0, [(5, 7)] * n, ["new:7"] * n), 1),
    }[other]  # fmt: skip
    a, b = draw(scores, first[:-1], 1)[0], draw(scores, *second)[0]
    assert p_value(torch.bincount(4 * a + b, minlength=16).double(), n * torch.outer(p, p).flatten().double()) > SURE


def test_normals_are_normal_and_independent():
    drawn = normals(keys(50_000), 0, 4)
    assert drawn.mean(0).abs().max() < 0.02 and (drawn.var(0) - 1).abs().max() < 0.03
    assert (torch.corrcoef(drawn.T) - torch.eye(4)).abs().max() < 0.02
    assert drawn.isfinite().all()


def test_a_draw_changes_only_where_two_lead_within_rounding():
    """Of 2,000 draws among 20,000 tokens whose logits move by about 1e-5 hardly any changes; by the inverse of the cumulative distribution
    a per cent would."""
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(2_000, 20_000, generator=generator)
    moved = scores + 1e-5 * torch.randn(20_000, generator=generator)
    changed = draw(scores, keys(2_000), 1)[0] != draw(moved, keys(2_000), 1)[0]
    assert changed.sum() <= 1
