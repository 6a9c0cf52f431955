"""How many different answers are given to a question, and whether that fell.

The diversity of a distribution p is 1 / lambda, the effective number of answers, with lambda = sum_k p_k^2 the probability that two answers
agree (Simpson 1949; Hill's number of order 2). From n answers it is estimated without bias by a U-statistic, whose error Hoeffding (1948)
gives.

Diversity beyond one answer, 1 / lambda - 1, is the odds against agreement. A level is a share of it, so that a coin can lose as much of
its diversity as a question with a hundred answers can, and tests and intervals are taken on the log of these odds.

Counts are [..., K], at least four answers in all but for `simpson`; what is computed has the shape of what stands before K.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student


def simpson(counts: ArrayLike) -> np.ndarray:
    """Unbiased estimate of lambda: the share of pairs of answers that agree; nan for fewer than two answers."""
    counts = np.asarray(counts, dtype=np.float64)
    n = counts.sum(-1)
    with np.errstate(invalid="ignore"):
        return (counts * (counts - 1)).sum(-1) / (n * (n - 1))


def simpson_error(counts: ArrayLike) -> np.ndarray:
    """Standard error of `simpson`: the variance of the U-statistic, 4 (n - 2) / (n (n - 1)) (s - lambda^2) + 2 / (n (n - 1)) (lambda -
    lambda^2), with lambda, its square and s = sum_k p_k^3 replaced by their unbiased estimates.

    An even distribution leaves the second term alone. Where no two answers agree, half a pair counts as agreeing.
    """
    counts = np.asarray(counts, dtype=np.float64)
    n = counts.sum(-1)
    pairs, triples = (counts * (counts - 1)).sum(-1), (counts * (counts - 1) * (counts - 2)).sum(-1)
    square = (pairs**2 - 4 * triples - 2 * pairs) / (n * (n - 1) * (n - 2) * (n - 3))  # over pairs that share no answer
    first = np.maximum(triples / (n * (n - 1) * (n - 2)) - square, 0)
    agree = np.maximum(pairs, 1) / (n * (n - 1))
    return np.sqrt((4 * (n - 2) * first + 2 * (agree - agree**2)) / (n * (n - 1)))


def agreement_at(agree: float, level: float) -> float:
    """The lambda at which diversity beyond one answer is `level` times what it is at the lambda `agree`."""
    return agree / (agree + level * (1 - agree))


def diversity_interval(counts: ArrayLike, tail: float = 0.025) -> tuple[float, float, float]:
    """(1 / lambda, low, high) of the mean lambda of questions with as many answers each, counts [Q, K]; `tail` is missed on each side.

    The mean of lambda, not of diversities, since it exists where all answers differ; and it is the questions with few answers that count.
    """
    counts = np.asarray(counts, dtype=np.float64)
    n = counts.sum(-1).max()
    smallest = 1 / (n * (n - 1) * len(counts))
    agree = float(np.clip(simpson(counts).mean(), smallest, 1))
    error = float(np.sqrt((simpson_error(_one_more(counts)) ** 2).sum())) / len(counts)
    spread = norm.isf(tail) * error / (agree * max(1 - agree, 1 / n))
    inside = logit(min(agree, 1 - 1 / n**2))
    return 1 / agree, float(1 / expit(inside + spread)), float(1 / expit(inside - spread))


def collapse_p_value(first: ArrayLike, now: ArrayLike, level: float) -> np.ndarray:
    """One-sided p-values that diversity beyond one answer is still at least `level` times that of the first look.

    Student's t of the difference of log odds, counts [..., K] and [..., L]. One answer that nobody else gave is added to those of now:
    without it answers that all agree would have no error, and the test would fire too often near diversity 1.
    """
    now = _one_more(np.asarray(now, dtype=np.float64))
    (a, error_a), (b, error_b) = _log_odds(first), _log_odds(now)
    return student.sf((b - a + np.log(level)) / np.hypot(error_a, error_b), now.sum(-1) - 2)


def _log_odds(counts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of agreement and their error by the delta method."""
    counts = np.asarray(counts, dtype=np.float64)
    n = counts.sum(-1)
    agree = np.clip(simpson(counts), 1 / (n * (n - 1)), 1 - 1 / n)
    return logit(agree), simpson_error(counts) / (agree * (1 - agree))


def _one_more(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([counts, np.ones((*counts.shape[:-1], 1))], -1)
