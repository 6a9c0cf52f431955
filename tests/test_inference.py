"""Raters inferred from labels: probabilities and slopes by hand, posteriors that hold what they promise, on simulated people."""

import math

import numpy as np
import pytest
import torch

from raterhf.raters.inference import Noise, Statements, infer, label_likelihood
from raterhf.raters.population import Population
from raterhf.training import losses

LN2, LN3 = math.log(2), math.log(3)
PLAIN = Noise(np.array([1e-9]), 0.0)  # hardly a tie


def statements(label, rater=None, grade=None, weight=None) -> Statements:
    label = np.asarray(label)
    return Statements(
        np.zeros(len(label), np.int64) if rater is None else np.asarray(rater), label, np.full(len(label), -1) if grade is None else grade,
        np.ones(len(label)) if weight is None else np.asarray(weight),
    )  # fmt: skip


def linear(design: np.ndarray, rater: np.ndarray, offset: float = 0.0):
    """Margins that are linear in the taste, as a head's nearly are."""
    return lambda z: (offset + (design * z[rater]).sum(1), design)


def gaussian(k: int, mean: float = 0.0, spread: float = 1.0) -> Population:
    return Population(np.ones(1), np.full((1, k), mean), spread * np.eye(k)[None])


def test_likelihood_is_that_of_training():
    """For every kind of label, up to the constants of ties and grades, which no margin changes."""
    margin = np.linspace(-6, 6, 13)
    cuts, share = np.array([LN2, math.log(6)]), 0.1
    for label, grade in ((1, -1), (-1, -1), (0, -1), (1, 0), (1, 1), (-1, 0), (-1, 1)):
        said = statements([label] * 13, grade=np.full(13, grade))
        ours, _, _ = label_likelihood(margin, said, Noise(cuts, share))
        theirs = -losses.graded_loss(
            torch.tensor(margin), torch.tensor(said.label), torch.tensor(said.grade), torch.tensor(cuts), torch.tensor(share)
        )
        assert np.abs(ours - theirs.numpy()).max() < 1e-6


def test_likelihood_by_hand():
    value, first, second = label_likelihood(np.array([LN3]), statements([1]), PLAIN)
    assert (math.exp(value[0]), first[0], second[0]) == pytest.approx((3 / 4, 1 / 4, -3 / 16))
    # A lie of one in ten: p = .9 * 3/4 + .1 * 1/4 = .7, its slope .8 * 3/16, so that of its logarithm is .15 / .7.
    value, first, _ = label_likelihood(np.array([LN3]), statements([1]), Noise(np.array([1e-9]), 0.1))
    assert (math.exp(value[0]), first[0]) == pytest.approx((0.7, 0.15 / 0.7))


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_slopes_are_those_of_the_likelihood(share):
    margin, step = np.linspace(-5, 5, 8), 1e-4
    label, grade = np.array([1, -1, 0, 1, 1, -1, -1, 0]), np.array([-1, -1, -1, 0, 1, 0, 1, -1])
    at = lambda m: label_likelihood(m, statements(label, grade=grade), Noise(np.array([0.5, 1.5]), share))  # noqa: E731
    _, first, second = at(margin)
    assert (at(margin + step)[0] - at(margin - step)[0]) / (2 * step) == pytest.approx(first, abs=1e-6)
    assert (at(margin + step)[1] - at(margin - step)[1]) / (2 * step) == pytest.approx(second, abs=1e-6)


def test_large_margins_stay_numbers():
    found = label_likelihood(np.array([-1e4, 1e4]), statements([1, -1]), Noise(np.array([0.5]), 0.0))
    assert np.allclose(found[0], -1e4 - 0.5) and np.isfinite(found).all()


def test_without_labels_a_person_is_the_population():
    two = Population(np.array([0.3, 0.7]), np.array([[-2.0, 0.0], [1.0, 1.0]]), 0.5 * np.stack([np.eye(2)] * 2))
    nothing = statements(np.zeros(0, np.int64))
    found = infer(linear(np.zeros((0, 2)), nothing.rater), nothing, PLAIN, two, 3)
    assert found.log_evidence == pytest.approx(np.zeros(3))
    for rater in range(3):
        one = found.of(rater)
        assert np.allclose(one.weights, two.weights) and np.allclose(one.means, two.means) and np.allclose(one.factors, two.factors)
    assert np.allclose(found.covariance()[0], two.covariance())


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_one_label_against_the_integral(strength):
    """Prior N(0, 1), one label of margin 1 or 4 z: mean, width and evidence (one half by symmetry) against sums over a fine grid."""
    said = statements([1])
    found = infer(linear(np.full((1, 1), strength), said.rater), said, PLAIN, gaussian(1), 1)
    z = np.linspace(-8, 8, 4001)
    density = np.exp(-(z**2) / 2) / (1 + np.exp(-strength * z))
    mean = (z * density).sum() / density.sum()
    assert found.mean()[0, 0] == pytest.approx(mean, abs=0.02)
    assert found.covariance()[0, 0, 0] == pytest.approx(((z - mean) ** 2 * density).sum() / density.sum(), abs=0.05)
    assert found.log_evidence[0] == pytest.approx(-LN2, abs=0.12)


def test_labels_that_contradict_each_other_leave_the_mean_and_narrow_it():
    said = statements([1, -1] * 20)
    found = infer(linear(np.ones((40, 1)), said.rater), said, PLAIN, gaussian(1), 1)
    assert found.mean()[0, 0] == pytest.approx(0, abs=1e-9)
    assert found.covariance()[0, 0, 0] == pytest.approx(1 / (1 + 40 / 4), rel=0.05)  # a quarter is told by each label of a margin near 0


def test_many_equal_labels_stay_finite_and_people_do_not_touch_each_other():
    said = statements([1] * 500 + [-1], rater=[0] * 500 + [1])
    found = infer(linear(np.full((501, 1), 3.0), said.rater), said, PLAIN, gaussian(1), 2)
    assert 1 < found.mean()[0, 0] < 5
    alone = infer(linear(np.full((1, 1), 3.0), np.zeros(1, np.int64)), statements([-1]), PLAIN, gaussian(1), 1)
    assert found.mean()[1] == pytest.approx(alone.mean()[0], abs=1e-3)


def test_half_a_weight_twice_is_a_label():
    twice, once = statements([1, 1], weight=[0.5, 0.5]), statements([1])
    found = [infer(linear(np.ones((len(s.label), 1)), s.rater), s, PLAIN, gaussian(1), 1) for s in (twice, once)]
    assert found[0].mean() == pytest.approx(found[1].mean()) and found[0].log_evidence == pytest.approx(found[1].log_evidence)


def test_a_clear_label_tells_which_of_two_kinds_a_person_is():
    kinds = Population(np.array([0.5, 0.5]), np.array([[-3.0], [3.0]]), 0.1 * np.eye(1)[None].repeat(2, 0))
    said = statements([1, 1])
    found = infer(linear(np.ones((2, 1)), said.rater), said, PLAIN, kinds, 1)
    # Two labels at odds of e^3 to 1 each: log-odds 2 log(sigmoid(3) / sigmoid(-3)) = 6, and the prior's width moves it little.
    assert np.log(found.weights[0, 1] / found.weights[0, 0]) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(("labels", "share"), [(5, 0.0), (40, 0.0), (40, 0.1), (200, 0.0)])
def test_ninety_per_cent_intervals_hold_ninety_per_cent(labels, share):
    """Simulated people, 4 dimensions, ties and lies: intervals of each dimension hold 85 to 95 % of the truth."""
    rng = np.random.default_rng(labels)
    raters, k, noise = 300, 4, Noise(np.array([0.4]), share)
    truth = rng.standard_normal((raters, k))
    rater = np.repeat(np.arange(raters), labels)
    design = rng.standard_normal((len(rater), k))
    margin = (design * truth[rater]).sum(1)
    a, b = 1 / (1 + np.exp(0.4 - margin)), 1 / (1 + np.exp(0.4 + margin))
    drawn = rng.random(len(rater))
    label = np.where(drawn < a, 1, np.where(drawn < a + b, -1, 0)) * np.where(rng.random(len(rater)) < share, -1, 1)
    found = infer(linear(design, rater), statements(label, rater=rater), noise, gaussian(k), raters)
    spread = np.sqrt(np.diagonal(found.covariance(), axis1=1, axis2=2))
    held = (np.abs(found.mean() - truth) < 1.645 * spread).mean()
    assert 0.85 <= held <= 0.95
    assert ((found.mean() - truth) ** 2).mean() < (truth**2).mean()
