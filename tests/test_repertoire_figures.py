"""Figures of repertoires against numbers worked out by hand, simulations, and the Vendi score."""

import math
from itertools import combinations

import numpy as np
import pytest

from raterhf.evaluation.metrics import entropy, repertoire
from raterhf.evaluation.metrics.diversity import simpson

SAID = np.array([2, 1, 1])  # a a b c


def test_simpson_is_the_share_of_equal_pairs():
    words = "aabc"
    pairs = list(combinations(words, 2))
    assert sum(a == b for a, b in pairs) / len(pairs) == pytest.approx(1 / 6)
    assert simpson(SAID) == pytest.approx(1 / 6)
    assert repertoire.effective_number(SAID) == pytest.approx(6)
    assert simpson(np.array([5, 0])) == 1


def test_simpson_is_unbiased():
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.2])
    estimates = [simpson(c) for c in rng.multinomial(5, p, size=20_000)]
    assert np.mean(estimates) == pytest.approx(p @ p, abs=0.005)


def test_what_does_not_exist_is_nan():
    assert math.isnan(simpson(np.array([1])))
    assert math.isnan(repertoire.effective_number(np.array([1, 1, 1])))
    assert math.isnan(repertoire.good_turing(np.array([0])))
    assert math.isnan(repertoire.top_mass(np.array([]), 3))


def test_good_turing_is_the_share_said_once():
    assert repertoire.good_turing(SAID) == 0.5
    assert repertoire.good_turing(np.array([3, 0, 2])) == 0


def test_top_mass():
    assert repertoire.top_mass(np.array([1, 5, 2, 2]), 2) == pytest.approx(0.7)
    assert repertoire.top_mass(SAID, 25) == 1


def test_rarefaction_counts_what_parts_hold():
    parts = [len(set(part)) for part in combinations("aabc", 2)]
    assert np.mean(parts) == pytest.approx(11 / 6)
    assert repertoire.rarefaction(SAID, np.array([1, 2, 4])) == pytest.approx([1, 11 / 6, 3])
    assert repertoire.rarefaction(np.array([3, 0, 2]), np.array([3])) == pytest.approx([19 / 10])  # of 10 triples, one is aaa
    assert np.isnan(repertoire.rarefaction(SAID, np.array([5]))).all()


def test_the_vendi_score_of_exact_matches_agrees():
    vendi = pytest.importorskip("vendi_score.vendi")
    labels = np.repeat(np.arange(3), [4, 3, 3])
    kernel = (labels[:, None] == labels).astype(float)
    p = np.array([0.4, 0.3, 0.3])
    assert vendi.score_K(kernel) == pytest.approx(np.exp(entropy(p)))
    # Of order 2 it is the biased 1 / sum (c / n)^2.
    assert vendi.score_K(kernel, q=2) == pytest.approx(1 / ((9 * simpson(10 * p) + 1) / 10))
