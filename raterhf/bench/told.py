"""Pairs told apart: of two things that one rater valued differently, which is the better one; and the figures of a row of `bench raters`.

A model gives a margin for each pair, positive where it is right. What makes margins log-odds is one scale a model, fitted on labels that
were kept back of the training ones. A margin of 0 counts as half right. Intervals are over raters drawn again, never over pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from raterhf.evaluation import metrics

RESAMPLES = 1000


@dataclass(frozen=True)
class Told:
    """P pairs: `rater` [P] from 0 whose they are, `margin` [P] in favour of what the rater said."""

    rater: np.ndarray
    margin: np.ndarray

    def scaled(self, scale: float) -> "Told":
        return Told(self.rater, scale * self.margin)


def together(parts: Sequence[Told]) -> Told:
    return Told(np.concatenate([part.rater for part in parts]), np.concatenate([part.margin for part in parts]))


def fit_scale(told: Told) -> float:
    """The factor under which margins are log-odds: the likeliest one."""
    said = np.ones(len(told.margin), np.int64)
    found = minimize_scalar(lambda log_scale: metrics.nll(np.exp(log_scale) * told.margin, said), bounds=(-5, 5), method="bounded")
    return float(np.exp(found.x))


def summary(told: Told, floor: Told, seed: int, orders: int = 1) -> dict:
    """Accuracy, and gain over `floor` on the same pairs, each with the 95 % interval over raters; nats a pair and calibration error.

    `orders` is how often each pair stands there, once for each order of labels that was drawn.
    """
    rng = np.random.default_rng(seed)
    raters = int(told.rater.max()) + 1
    pairs, right, lower = (np.bincount(told.rater, of, raters) for of in (np.ones(len(told.rater)), _right(told), _right(floor)))
    there = np.flatnonzero(pairs)
    drawn = there[rng.integers(len(there), size=(RESAMPLES, len(there)))]

    def interval(hits: np.ndarray) -> list[float]:
        return np.quantile(hits[drawn].sum(1) / pairs[drawn].sum(1), [0.025, 0.975]).round(4).tolist()

    said = np.ones(len(told.margin), np.int64)
    return {
        "accuracy": round(float(right.sum() / pairs.sum()), 4),
        "interval": interval(right),
        "gain": round(float((right - lower).sum() / pairs.sum()), 4),
        "gain_interval": interval(right - lower),
        "nats": round(-metrics.nll(told.margin, said), 4),
        "ece": round(metrics.ece(told.margin, said), 4),
        "raters": len(there),
        "pairs": len(told.margin) // orders,
    }


def _right(told: Told) -> np.ndarray:
    return (1 + np.sign(told.margin)) / 2
