"""Figures of reward models against numbers worked out by hand."""

import math

import numpy as np
import pytest

from raterhf.evaluation import metrics


def test_accuracy_and_nll_leave_ties_out():
    margins, labels = np.array([2.0, -1.0, 0.0, 5.0]), np.array([1, 1, -1, 0])
    assert metrics.accuracy(margins, labels) == pytest.approx(1.5 / 3)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.e) + math.log(2)) / 3
    assert metrics.nll(margins, labels) == pytest.approx(expected)
    assert math.isnan(metrics.nll(margins[3:], labels[3:]))
    with pytest.raises(ValueError, match="labels"):
        metrics.accuracy(margins, np.array([1, 1, -1, 2]))


def test_ece_does_not_depend_on_which_side_is_called_a():
    # Confidence .75, right in 3 of 4: calibrated, whether or not the chosen side is always a. Then right in 1
    # of 4: off by .5.
    margin = math.log(3)
    margins, labels = np.array([1, 1, 1, -1]) * margin, np.ones(4, int)
    assert metrics.ece(margins, labels) == pytest.approx(0)
    flip = np.array([1, -1, 1, -1])
    assert metrics.ece(margins * flip, labels * flip) == pytest.approx(0)
    assert metrics.ece(-margins, labels) == pytest.approx(0.5)
    assert metrics.ece(np.array([50.0]), np.array([1])) == pytest.approx(0)


def test_flip_rate():
    assert metrics.flip_rate(np.array([1, -1, 2, 0]), np.array([-3, -2, 0, 0])) == pytest.approx((1 + 0 + 0.5 + 0) / 4)


def test_rater_accuracies_and_worst_decile():
    margins, labels = np.array([1, -1, 1, 1]), np.array([1, 1, 1, 0])
    accuracies = metrics.rater_accuracies(margins, labels, np.array(["b", "b", "a", "c"]))
    assert accuracies[:2].tolist() == [1, 0.5] and math.isnan(accuracies[2])
    assert metrics.worst_decile(np.array([0.9] * 18 + [0.1, 0.3, np.nan])) == pytest.approx(0.2)
    assert metrics.worst_decile(np.array([0.9, 0.4, 0.8])) == pytest.approx(0.4)


def test_skill():
    assert metrics.skill(2.0, 1.75, 1.5) == pytest.approx(0.5)
    assert math.isnan(metrics.skill(1.0, 1.0, 1.0))
