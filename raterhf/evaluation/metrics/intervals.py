"""95 % intervals of figures, and two sweeps compared at equal gold reward.

Training raters are resampled by redrawing the world with each seed (`over_seeds`); within a seed,
`cluster_bootstrap` resamples raters, then questions, never pairs of them. `combine` is the rule between the
two: the seeds' interval from three seeds on, else the bootstrap's. A sweep is a list of dicts, one for each
beta, with `beta`, `reward_gold` and the figures.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student

LEVEL = 0.95
MIN_SEEDS = 3
RESAMPLES = 1000  # of people, for the interval of a mean
MONTE_CARLO = 3.0  # errors of a mean of replicates that chance explains


def cluster_bootstrap(
    stat: Callable[[np.ndarray, np.ndarray | None], float],
    n_raters: int,
    n_questions: int | None,
    rng: np.random.Generator,
    n: int = 500,
) -> tuple[float, float]:
    """Interval of `stat(raters, questions)`: indices drawn with replacement, or None without `n_questions`.

    The percentile interval of replicates `without_bias`. A floor that the figure subtracts does not depend on
    the answers: simulate it once for each question, before, not in every replicate. Replicates where the figure
    does not exist are left out; (nan, nan) when it does not exist for half of them or for all raters.
    """

    def indices(size: int | None, resample: bool) -> np.ndarray | None:
        if size is None:
            return None
        return rng.integers(size, size=size) if resample else np.arange(size)

    value = stat(indices(n_raters, False), indices(n_questions, False))
    replicates = np.array([stat(indices(n_raters, True), indices(n_questions, True)) for _ in range(n)])
    replicates = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or replicates.size <= n / 2:
        return float("nan"), float("nan")
    return percentiles(without_bias(replicates, value))


def percentiles(replicates: np.ndarray) -> tuple[float, float]:
    """The ends between which a new replicate falls with probability `LEVEL`: the (B + 1) p-th of the B in order, not numpy's default."""
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="weibull")
    return float(low), float(high)


def without_bias(replicates: np.ndarray, value: float) -> np.ndarray:
    """Bootstrap replicates [B], moved so that their mean lies on the value with everybody in it, if it is off by more than chance.

    A tv or a mutual information has a floor that grows again in every resample, and plain percentiles would sit
    above the value. A share has none: its replicates' mean is off by the error of B draws, and moving them by
    that would lift a rare event's lower end off 0.
    """
    bias = replicates.mean() - value
    return replicates - bias if abs(bias) > MONTE_CARLO * replicates.std() / len(replicates) ** 0.5 else replicates


def mean_over_people(total: np.ndarray, number: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean of everything that people [P] have so much of, with its 95 % interval over people, from sums and numbers [P]; nan where there is
    nothing."""
    if not number.sum():
        return (float("nan"),) * 3
    drawn = rng.integers(len(total), size=(RESAMPLES, len(total)))
    sums, numbers = total[drawn].sum(1), number[drawn].sum(1)
    return float(total.sum() / number.sum()), *percentiles(sums[numbers > 0] / numbers[numbers > 0])


def clopper_pearson(count: int, n: int) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934)."""
    low = beta.ppf((1 - LEVEL) / 2, count, n - count + 1) if count else 0.0
    high = beta.ppf((1 + LEVEL) / 2, count + 1, n - count) if count < n else 1.0
    return float(low), float(high)


def over_seeds(values: Sequence[float | None]) -> tuple[float | None, float | None, float | None]:
    """(mean, low, high): Student's interval over seeds, low and high None for one seed.

    All None when a seed lacks the figure (None or nan): a mean over the seeds where it happens to exist would
    be another figure.
    """
    values = np.array(values, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        return None, None, None
    mean = float(values.mean())
    if values.size == 1:
        return mean, None, None
    half = float(student.ppf((1 + LEVEL) / 2, values.size - 1) * values.std(ddof=1) / values.size**0.5)
    return mean, mean - half, mean + half


def combine(values: Sequence[float | None], within: Sequence[tuple[float, float]]) -> tuple[float | None, float | None, float | None]:
    """(mean, low, high) of a figure from its values and its bootstrap intervals, one of each for a seed.

    From three seeds on, the interval over seeds, which holds training and evaluation noise. With fewer
    (Student's t at one degree of freedom says nothing) the mean of the lower and of the upper bootstrap ends:
    evaluation noise only, so too narrow. None where missing.
    """
    mean, low, high = over_seeds(values)
    if mean is None or len(values) >= MIN_SEEDS:
        return mean, low, high
    ends = np.array(within, dtype=np.float64).reshape(-1, 2).mean(0)
    return (mean, float(ends[0]), float(ends[1])) if np.isfinite(ends).all() else (mean, None, None)


def interpolate_at_equal_gold(sweep_a: Sequence[dict], sweep_b: Sequence[dict], metrics: Sequence[str]) -> dict:
    """The figures of two sweeps at the highest gold reward that both reach, linear along each one's frontier.

    Returns {"reward_gold": g, "a": {"reward_gold": g, figure: value, ...}, "b": {...}}. Where the ranges of
    gold do not overlap, "reward_gold" is None and each side is its point nearest to the other's range, with
    that point's own gold. A value next to a missing one (None) is nan.
    """
    a, b = _frontier(sweep_a, metrics), _frontier(sweep_b, metrics)
    gold = min(a[-1, 0], b[-1, 0])
    if gold >= max(a[0, 0], b[0, 0]):
        return {"reward_gold": float(gold), "a": _at(a, gold, metrics), "b": _at(b, gold, metrics)}
    return {
        "reward_gold": None,
        "a": _at(a, np.clip(gold, a[0, 0], a[-1, 0]), metrics),
        "b": _at(b, np.clip(gold, b[0, 0], b[-1, 0]), metrics),
    }


def _frontier(sweep: Sequence[dict], metrics: Sequence[str]) -> np.ndarray:
    """Rows [gold, figures...]: from the largest beta down, the points that reach more gold than any before.

    A smaller beta that reaches less gold is over-optimised; nobody would choose it, and sorted by gold it
    would lie between others.
    """
    rows: list[list] = []
    for point in sorted(sweep, key=lambda point: -point["beta"]):
        if not rows or point["reward_gold"] > rows[-1][0]:
            rows.append([point["reward_gold"], *(point[figure] for figure in metrics)])
    return np.array(rows, dtype=np.float64)


def _at(frontier: np.ndarray, gold: float, metrics: Sequence[str]) -> dict[str, float]:
    values = {name: float(np.interp(gold, frontier[:, 0], frontier[:, k])) for k, name in enumerate(metrics, start=1)}
    return {"reward_gold": float(gold), **values}
