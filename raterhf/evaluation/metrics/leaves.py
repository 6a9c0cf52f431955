"""Figures of a distribution that is known leaf by leaf down to a least probability; what is left lies on leaves less likely than that,
each.

Notation: p [L] are probabilities of leaves, q [L] another distribution's probabilities of the same; either may sum to less than one. Pure.
"""

import numpy as np


def leaf_entropy(p: np.ndarray, least: float) -> float:
    """Entropy in nats, at least: what is left, in pieces of less than `least` each, has no less than left * log(1 / least)."""
    seen = p[p > 0]
    return float(-(seen * np.log(seen)).sum()) + _left(p) * -np.log(least)


def repeat_probability(p: np.ndarray, least: float) -> float:
    """That two draws are one leaf (Simpson's index), at most: sum p^2 + left * least."""
    return float((p * p).sum()) + _left(p) * least


def leaf_tv(p: np.ndarray, q: np.ndarray) -> float:
    """1/2 sum |p - q|, at most: what is left of the one is no leaf of the other's. Leaves that only q knows count as its left."""
    return 0.5 * (float(np.abs(p - q).sum()) + _left(p) + _left(q))


def _left(p: np.ndarray) -> float:
    return max(0.0, 1.0 - float(p.sum()))
