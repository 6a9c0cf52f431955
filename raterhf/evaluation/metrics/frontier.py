"""The frontier of quality and closeness: which policies no other beats in both, and what a method has at a given quality.

A point is a policy at one strength of its method: a dict with `reward_gold`, higher is better, `etv`, lower is better, and other figures.
"""

import math
from collections.abc import Sequence

import numpy as np

REACH = 0.03  # of gold reward, within which two are called equal


def on_front(gold: Sequence[float], etv: Sequence[float]) -> np.ndarray:
    """Which of points [N] are on the Pareto front: no other is as good in both and better in one. Those without a figure (nan) are not."""
    gold, etv = np.asarray(gold, np.float64), np.asarray(etv, np.float64)
    as_good = (gold[None] >= gold[:, None]) & (etv[None] <= etv[:, None])
    better = (gold[None] > gold[:, None]) | (etv[None] < etv[:, None])
    return np.isfinite(gold + etv) & ~(as_good & better).any(1)


def at_gold(points: Sequence[dict], gold: float, figures: Sequence[str], reach: float = REACH) -> dict[str, float] | None:
    """What a method has at a gold reward of at least so much, linear between the points of its own front.

    {"reward_gold": ..., figure: value}; below all of the front its least etv, whose gold is higher than asked. None where the method does
    not come within `reach` of it. A value next to a missing one (nan) is nan.
    """
    front = on_front([p["reward_gold"] for p in points], [p["etv"] for p in points])
    rows = sorted((p for p, kept in zip(points, front, strict=True) if kept), key=lambda p: p["reward_gold"])
    if not rows or gold > rows[-1]["reward_gold"] + reach:
        return None
    known = [p["reward_gold"] for p in rows]
    at = float(np.clip(gold, known[0], known[-1]))
    values = {figure: float(np.interp(at, known, [p.get(figure, math.nan) for p in rows])) for figure in figures}
    return {"reward_gold": at} | values
