"""A probe's figures with their uncertainty: halves of the rows, two models apart, the gap to people recovered, and the false alarms.

A sample is what one model said, in `rows` independent units (fresh raters, or draws of a model without raters). A figure is a pure function
of a sample and of the rows looked at, so that intervals and differences need no formula of their own.

Replicates are halves drawn without replacement (the delete-d jackknife; Shao and Wu 1989): a half is as far from the whole as the whole is
from the truth. A bootstrap says everything twice, so that it is too sure of what counts rare answers: entropy, repeats, the unseen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm as normal
from scipy.stats import t as student

from raterhf.evaluation.metrics.intervals import LEVEL, clopper_pearson, percentiles, without_bias

REPLICATES = 200

Figures = Callable[[np.ndarray], dict[str, float]]


class CannotMeasure(Exception):
    """A probe, or a figure of one model, does not exist for this model and these prompts; the message says why."""


@dataclass(frozen=True)
class Measured:
    """Values of figures, and replicates [B] of each, `without_bias`; `exact`: nothing was drawn."""

    values: dict[str, float]
    replicates: dict[str, np.ndarray]
    exact: bool = False

    def interval(self, figure: str) -> tuple[float, float, float]:
        """(value, low, high); nan ends where the figure exists in fewer than half of the replicates."""
        return _with_ends(self.values[figure], self.replicates[figure])


def measure(measured: Figures, rows: int, rng: np.random.Generator, n: int = REPLICATES) -> Measured:
    """Figures of a sample and `n` replicates over halves of its rows. A sample of one row is exact: its replicates are its values."""
    values = measured(np.arange(rows))
    drawn = [measured(rng.permutation(rows)[: rows // 2]) if rows > 1 else values for _ in range(n)]
    replicates = {}
    for name, value in values.items():
        column = np.array([one[name] for one in drawn], dtype=np.float64)
        there = column[np.isfinite(column)]
        column[np.isfinite(column)] = without_bias(there, value) if len(there) else there
        replicates[name] = (column - value) * _spread_of_whole(rows) + value
    return Measured(values, replicates, exact=rows == 1)


def _spread_of_whole(rows: int) -> float:
    """What a half's distance from the whole is multiplied by: 1 for many rows.

    An odd row makes a half smaller than the rest; and percentiles of few rows are too narrow (Hesterberg 2015), by Student's quantile.
    """
    if rows < 2:
        return 1.0
    half, tail = rows // 2, (1 + LEVEL) / 2
    return float((half / (rows - half)) ** 0.5 * student.ppf(tail, rows - 1) / normal.ppf(tail))


def _with_ends(value: float, replicates: np.ndarray) -> tuple[float, float, float]:
    there = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or len(there) < len(replicates) / 2:
        return float(value), float("nan"), float("nan")
    return float(value), *percentiles(there)


def difference(a: Measured, b: Measured, figure: str) -> tuple[float, float, float]:
    """a's figure minus b's, with the interval of two independent samples.

    A sample in which a rare event never happened has no spread, which does not make it certain: it is as uncertain as the other one.
    """
    value = a.values[figure] - b.values[figure]
    spreads = [one.replicates[figure] - one.values[figure] for one in (a, b)]
    for i, (one, other) in enumerate(((a, spreads[1]), (b, spreads[0]))):
        if np.allclose(spreads[i], 0) and not one.exact:
            spreads[i] = np.roll(other, 1)
    return _with_ends(value, value + spreads[0] - spreads[1])


def recovered(raters: Measured, vanilla: Measured, people: Measured | float, figure: str) -> tuple[float, float, float]:
    """Share of vanilla's distance from people that raters do not have: 1 - |raters - people| / |vanilla - people|.

    `people` is measured, or a perfect sampler's value. Nan where vanilla is not away from people by more than chance: there is no gap.
    """
    if isinstance(people, Measured):
        target, targets = people.values[figure], people.replicates[figure]
    else:
        target = targets = people
    gap, gaps = vanilla.values[figure] - target, vanilla.replicates[figure] - targets
    _, low, high = _with_ends(gap, gaps)
    if not (low > 0 or high < 0):
        return float("nan"), float("nan"), float("nan")
    left, lefts = raters.values[figure] - target, raters.replicates[figure] - targets
    return _with_ends(1 - abs(left) / abs(gap), 1 - np.abs(lefts) / np.maximum(np.abs(gaps), 1e-12))


def false_alarms(measured: Figures, rows: int, rng: np.random.Generator, repeats: int, n: int = REPLICATES) -> dict[str, tuple]:
    """How often two random halves of one sample are called different, for each figure: (rate, low, high), exact (Clopper and Pearson)."""
    alarms: dict[str, int] = {}
    for _ in range(repeats):
        order = rng.permutation(rows)
        halves = [order[: rows // 2], order[rows // 2 : rows // 2 * 2]]
        a, b = (measure(lambda r, half=half: measured(half[r]), len(half), rng, n) for half in halves)
        for name in a.values:
            _, low, high = difference(a, b, name)
            alarms[name] = alarms.get(name, 0) + bool(low > 0 or high < 0)
    return {name: (count / repeats, *clopper_pearson(count, repeats)) for name, count in alarms.items()}
