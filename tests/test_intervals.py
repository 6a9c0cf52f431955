"""Intervals and equal-gold comparisons against numbers worked out by hand."""

import math

import numpy as np
import pytest

from raterhf.evaluation import metrics
from raterhf.evaluation.metrics.intervals import clopper_pearson, percentiles, without_bias


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_cluster_bootstrap_of_a_mean_is_the_normal_interval(rng):
    values = rng.normal(size=400)
    low, high = metrics.cluster_bootstrap(lambda raters, _: values[raters].mean(), 400, None, rng, n=2000)
    half = 1.96 * values.std() / 20
    assert [low, high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.01)


def test_cluster_bootstrap_resamples_questions_too(rng):
    # All variation is between questions: resampling raters alone sees none of it.
    table = np.tile(rng.normal(size=20), (50, 1))
    low, high = metrics.cluster_bootstrap(lambda r, q: table[np.ix_(r, q)].mean(), 50, 20, rng)
    assert high - low > 0.5
    low, high = metrics.cluster_bootstrap(lambda r, _: table[r].mean(), 50, None, rng)
    assert high - low == pytest.approx(0)


def test_cluster_bootstrap_lies_about_a_figure_with_a_floor(rng):
    q = np.full(50, 1 / 50)
    answers = rng.integers(50, size=200)
    value = metrics.tv(metrics.class_distribution(answers, 50), q)
    low, high = metrics.cluster_bootstrap(lambda r, _: metrics.tv(metrics.class_distribution(answers[r], 50), q), 200, None, rng)
    assert low < value < high
    assert all(map(math.isnan, metrics.cluster_bootstrap(lambda r, _: math.nan, 5, None, rng, n=9)))


def test_over_seeds_is_students_interval():
    # sd 1, n 3, t(.975, 2) = 4.3027.
    mean, low, high = metrics.over_seeds([1.0, 2.0, 3.0])
    assert [mean, low, high] == pytest.approx([2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], abs=1e-4)
    assert metrics.over_seeds([1.0]) == (1.0, None, None)
    assert metrics.over_seeds([1.0, None, math.nan]) == metrics.over_seeds([]) == (None, None, None)


def test_combine_prefers_three_seeds_and_falls_back_on_the_bootstrap():
    within = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
    assert metrics.combine([1.0, 2.0, 3.0], within) == metrics.over_seeds([1.0, 2.0, 3.0])
    assert metrics.combine([1.0, 2.0], within[:2]) == (1.5, 0.5, 2.5)
    assert metrics.combine([1.0], within[:1]) == (1.0, 0.0, 2.0)
    assert metrics.combine([1.0], [(math.nan, math.nan)]) == (1.0, None, None)


def sweep(*points: tuple[float, float, float | None]) -> list[dict]:
    return [{"beta": beta, "reward_gold": gold, "etv": etv} for beta, gold, etv in points]


def test_equal_gold_interpolates_at_the_highest_gold_that_both_reach():
    vanilla, ours = sweep((0.1, 2, 0.6), (1, 0, 0.2), (0.3, 1, 0.4)), sweep((1, 0.5, 0.1), (0.1, 1.5, 0.2))
    result = metrics.interpolate_at_equal_gold(vanilla, ours, ["etv"])
    assert result["reward_gold"] == 1.5
    assert result["a"] == pytest.approx({"reward_gold": 1.5, "etv": 0.5})
    assert result["b"] == pytest.approx({"reward_gold": 1.5, "etv": 0.2})


def test_equal_gold_leaves_over_optimised_points_out():
    vanilla = sweep((1, 0, 0.2), (0.3, 2, 0.4), (0.1, 1, 0.9))
    result = metrics.interpolate_at_equal_gold(vanilla, sweep((1, 0, 0.1), (0.1, 1, 0.1)), ["etv"])
    assert result["a"]["etv"] == pytest.approx(0.3)


def test_equal_gold_without_overlap_names_the_nearest_points():
    low, high = sweep((1, 0, 0.1), (0.1, 1, 0.2)), sweep((1, 2, 0.3), (0.1, 3, None))
    result = metrics.interpolate_at_equal_gold(low, high, ["etv"])
    assert result == {
        "reward_gold": None,
        "a": {"reward_gold": 1, "etv": 0.2},
        "b": {"reward_gold": 2, "etv": 0.3},
    }


def test_clopper_pearson_by_hand():
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1), 1.0)


def test_only_a_bias_beyond_chance_is_taken_off():
    replicates = np.array([0.0, 1.0] * 50)  # sd .5, so that the error of their mean is .05
    assert without_bias(replicates, 0.36) is replicates  # off by .14, less than three errors
    assert without_bias(replicates, 0.3).tolist() == pytest.approx((replicates - 0.2).tolist())


def test_percentiles_leave_out_what_they_say():
    # Of 39 in order the ends are the first and the last: a 40th falls outside with probability 2 / 40.
    assert percentiles(np.arange(39.0)) == pytest.approx((0.0, 38.0))
