"""Simpson's index, its error, its interval and the alarm against numbers by hand and against simulation."""

import numpy as np
import pytest

from raterhf.evaluation.metrics.diversity import collapse_p_value, diversity_interval, simpson, simpson_error


def test_simpson_by_hand():
    # 2 + 1 + 1 answers: of six pairs one agrees
    assert simpson([2, 1, 1]) == pytest.approx(1 / 6)
    assert simpson([[4, 0], [2, 2]]).tolist() == pytest.approx([1, 1 / 3])


def test_error_by_hand():
    # 3 + 1 of four: lambda 1/2, s = 3 2 1 / (4 3 2) = 1/4, lambda^2 (36 - 24 - 12) / 24 = 0: (4 2 (1/4) + 2 (1/2 - 1/4)) / 12
    assert simpson_error([3, 1]) == pytest.approx((2.5 / 12) ** 0.5)
    assert simpson_error([5, 0]) == 0
    # five answers that all differ: half of a pair, 1/20
    assert simpson_error([1] * 5) == pytest.approx((2 * (0.05 - 0.0025) / 20) ** 0.5)


@pytest.mark.parametrize("distribution", [[1 / 6] * 6, [0.7, 0.2, 0.1]])
def test_unbiased_and_the_error_is_what_it_varies_by(distribution):
    counts = np.random.default_rng(0).multinomial(40, distribution, size=20000)
    assert simpson(counts).mean() == pytest.approx(np.square(distribution).sum(), abs=0.001)
    # never too small on the mean; for an even distribution somewhat too large, since its first term is zero and cannot be estimated below
    assert 0.97 < np.sqrt((simpson_error(counts) ** 2).mean()) / simpson(counts).std() < (1.1 if distribution[0] > 0.5 else 1.5)


def test_interval():
    value, low, high = diversity_interval([[10] * 6, [30, 30, 0, 0, 0, 0]])
    assert value == pytest.approx(2 / (9 / 59 + 29 / 59)) and low < value < high
    assert diversity_interval([[60, 0]])[0] == 1 and diversity_interval([[60, 0]])[2] > 1
    value, low, high = diversity_interval([[1] * 50])  # nothing agrees: no more than half a pair could be seen
    assert value == 50 * 49 and low < 500 and high > value
    counts = np.random.default_rng(0).multinomial(64, [0.5, 0.3, 0.2], size=(2000, 4))
    missed = np.array([not low <= 1 / 0.38 <= high for _, low, high in map(diversity_interval, counts)])
    assert missed.mean() < 0.08


def test_alarm():
    die, one = [21] * 6, [126, 0, 0, 0, 0, 0]
    assert collapse_p_value(die, die, 0.5) > 0.99 and collapse_p_value(die, one, 0.5) < 1e-4
    assert collapse_p_value([64, 64], [128, 0], 0.5) < 1e-3  # a coin too
    assert collapse_p_value(one, one, 0.5) > 0.5  # nothing to lose
    assert collapse_p_value([1] * 100, [100, 0], 0.5) < 1e-4  # all different, then one
    # diversity beyond one answer falls from 5 to 2.5: as the level says, not below it
    assert collapse_p_value([2000] * 6, [4817, 1037, 1037, 1037, 1037, 1037], 0.5) == pytest.approx(0.5, abs=0.1)
