"""Repertoires: how many different things are said, and how often the same?

Notation: `counts` are how often each kind was said among n answers (zeros are left out or not, alike), f1 the kinds said once, p_k the
unknown probability of kind k. Pure functions of numpy arrays; a figure that does not exist for its arguments is nan.
"""

import numpy as np
from scipy.special import gammaln

from raterhf.evaluation.metrics.diversity import simpson


def effective_number(counts: np.ndarray) -> float:
    """How many kinds, all as frequent, would repeat as often: 1 / `simpson` (Hill's number of order 2).

    nan where nothing was said twice: there are too few answers to tell.
    """
    repeated = float(simpson(counts))
    return 1 / repeated if repeated > 0 else float("nan")


def good_turing(counts: np.ndarray) -> float:
    """The probability that the next answer is of a kind not said so far: f1 / n (Good 1953). nan without answers."""
    c = np.asarray(counts)
    return float((c == 1).sum() / c.sum()) if c.sum() else float("nan")


def top_mass(counts: np.ndarray, k: int) -> float:
    """Share of the k most frequent kinds. nan without answers."""
    c = np.sort(np.asarray(counts, float))[::-1]
    return float(c[:k].sum() / c.sum()) if c.sum() else float("nan")


def rarefaction(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Kinds in a random part of so many answers in the mean: sum_k [1 - C(n - c_k, m) / C(n, m)] (Hurlbert 1971), for each m in `sizes`.

    nan where m is larger than n.
    """
    kinds, frequency = np.unique(np.asarray(counts)[np.asarray(counts) > 0], return_counts=True)
    c, m = kinds[None].astype(float), np.asarray(sizes, float)[:, None]
    n = float(kinds @ frequency)
    left = np.maximum(n - c - m, 0)  # where fewer are left out than there are of kind k, one of them is in
    log_missed = gammaln(n - c + 1) - gammaln(left + 1) - gammaln(n + 1) + gammaln(np.maximum(n - m, 0) + 1)
    missed = np.where(n - c - m < 0, 0.0, np.exp(log_missed))
    return np.where(m[:, 0] <= n, (1 - missed) @ frequency, np.nan)
