"""Disagreement taken apart: every source alone by hand, and all of them together on simulated people whose numbers are known."""

import numpy as np
import pytest
from test_pairs import simulated

from raterhf.raters.disagreement import (
    Pairs,
    PairVoices,
    RatingVoices,
    flips,
    interval,
    of_two,
    taken_apart,
    voices_of_pairs,
    voices_of_ratings,
)
from raterhf.raters.items import ItemModel, Ratings, Tastes, fit_items
from raterhf.raters.pairs import PairModel, People, fit_pairs

PAIR = Pairs(np.array([0]), np.array([1]), np.zeros((1, 0)))


def known(worth: list[list[float]], numbers: list[list[float]]) -> PairVoices:
    """Raters whose numbers are certain."""
    mean = np.array(numbers, float)
    d = mean.shape[1]
    model = PairModel(np.array(worth, float), np.eye(d)[1], np.eye(d))
    return PairVoices(model, People(mean, np.full((len(mean), d, d), 0.0) + 1e-18 * np.eye(d)))


def parts(voices, pairs: Pairs = PAIR, raters: int = 2) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in taken_apart(voices, pairs, raters, 0, draws=2, asked=50).items()}


def test_two_who_want_the_opposite_differ_by_taste():
    found = parts(known([[0, 20], [0, 0]], [[0, 1, 1], [0, 1, -1]]))
    assert found == pytest.approx({"rate": 1, "taste": 1, "habits": 0, "care": 0, "chance": 0}, abs=1e-6)


def test_two_who_take_the_first_and_the_second_differ_by_habit():
    found = parts(known([[0], [0]], [[20, 1], [-20, 1]]))
    assert found == pytest.approx({"rate": 1, "taste": 0, "habits": 1, "care": 0, "chance": 0}, abs=1e-6)


def test_who_does_not_look_differs_by_carelessness():
    """One is sure of what everybody values, one throws a coin: they differ in half of the cases, and would not if both looked."""
    found = parts(known([[20], [0]], [[0, 0], [0, 2]]))
    assert found == pytest.approx({"rate": 0.5, "taste": 0, "habits": 0, "care": 0.5, "chance": 0}, abs=1e-6)


def test_who_prefers_the_opposite_of_what_others_value_has_a_taste():
    found = parts(known([[20], [0]], [[0, -1], [0, 1]]))
    assert found == pytest.approx({"rate": 1, "taste": 1, "habits": 0, "care": 0, "chance": 0}, abs=1e-6)


def test_between_equals_all_is_chance():
    found = parts(known([[0], [0]], [[0, 1], [0, 1]]))
    assert found == pytest.approx({"rate": 0.5, "taste": 0, "habits": 0, "care": 0, "chance": 0.5}, abs=1e-6)


def test_ratings_are_taken_apart_alike():
    """Tastes of +-1 on loadings of 20 against noise of 1: the order of two things is turned round."""
    model = ItemModel(np.zeros(2), np.array([[20.0], [0.0]]), np.ones(2), np.inf)
    tastes = Tastes(np.array([[1.0], [-1.0]]), np.full((2, 1, 1), 1e-18), np.ones(2))
    voices = RatingVoices(model, tastes, np.ones(2), np.ones(2))
    assert parts(voices) == pytest.approx({"rate": 1, "taste": 1, "habits": 0, "care": 0, "chance": 0}, abs=1e-6)
    assert flips(voices, PAIR, 2, 0, 2, 50) == pytest.approx([1, 1])


def test_flips_and_couples_by_hand():
    """Chances of .9 and .2, then .9 and .8: between the first two .9 * .8 + .1 * .2 = .74, and a flip."""
    log_odds = lambda p: np.log(p / (1 - p))  # noqa: E731
    voices = known([[0], [0]], [[log_odds(0.9), 1], [log_odds(0.2), 1], [log_odds(0.8), 1]])
    assert of_two(voices, PAIR, np.array([[0, 1], [0, 2]]), 0, 1)[0] == pytest.approx([0.74, 0.9 * 0.2 + 0.1 * 0.8])
    assert 0 < flips(voices, PAIR, 3, 0, 20, 200).mean() < 1


def test_what_simulated_people_differ_by_is_found():
    rows, who = simulated()
    model = fit_pairs(rows, 200, 20, 2, precision=4.0)
    pairs = Pairs(rows.a, rows.b, rows.apart)
    worth = np.random.default_rng(0)
    worth.standard_normal(200), worth.choice([0.0, 2.0], 200), worth.standard_normal((2, 200))
    true = PairModel(worth.standard_normal((20, 2)), np.array([0.0, 1.0, 0.0, 0.0]), np.eye(4))
    truth = taken_apart(PairVoices(true, People(who, np.tile(1e-18 * np.eye(4), (200, 1, 1)))), pairs, 200, 0, 20)
    found = taken_apart(voices_of_pairs(model, rows, 200), pairs, 200, 0, 40)
    assert found["rate"].mean() == pytest.approx(truth["rate"].mean(), abs=0.02)
    for name in ("taste", "habits", "care", "chance"):
        assert found[name].mean() == pytest.approx(truth[name].mean(), abs=0.03), name
    assert sum(found[name] for name in ("taste", "habits", "care", "chance")) == pytest.approx(found["rate"])


def test_care_of_raters_is_a_posterior_of_what_is_left():
    """Twenty raters of fifty things, one twenty times as far off: the Gamma's mean is the steadiness that is inferred."""
    rng = np.random.default_rng(0)
    rater, item = np.repeat(np.arange(20), 50), np.tile(np.arange(50), 20)
    value = rng.standard_normal(50)[item] + np.where(rater == 19, 2.0, 0.1) * rng.standard_normal(1000)
    ratings = Ratings(rater, item, value)
    voices = voices_of_ratings(fit_items(ratings, 20, 50, 1, nu=10.0), ratings, 20)
    assert voices.shape / voices.rate == pytest.approx(voices.tastes.steadiness, rel=0.05)
    assert voices.tastes.steadiness[19] < 0.2 * voices.tastes.steadiness[:19].min()


def test_interval_is_mean_and_quantiles():
    assert interval(np.arange(101.0)) == pytest.approx([50, 2.5, 97.5])
