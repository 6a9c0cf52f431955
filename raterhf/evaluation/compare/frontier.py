"""The frontier of a comparison: every method at each of its strengths, and all of them at equal gold reward.

A method is vanilla, our policy asked as fictitious raters, or a rival. Levels of gold reward are vanilla's own at its main beta and some
below it. With three worlds or more intervals are over worlds, else of the draws alone.
"""

import math
from collections.abc import Sequence

from raterhf.evaluation import metrics
from raterhf.evaluation.compare.policy_metrics import PolicyMetrics
from raterhf.evaluation.compare.rivals import Strength

FIGURES = ("reward_gold", "etv", "tv", "valid", "gamma", "mi_ratio", "joint_tv", "kappa_taste", "c2st_auc", "tv_unrated", "kl_to_base")
WITHIN = ("reward_gold", "etv", "mi_ratio", "c2st_auc", "gamma")  # of which there are intervals
BELOW = (0.0, 0.1, 0.3)  # gold reward given up against vanilla's

Swept = dict[str, list[tuple[Strength, PolicyMetrics]]]


def row(strength: Strength, measured: PolicyMetrics) -> dict[str, float]:
    """A point of one world: its figures, and the ends of their intervals as `FIGURE_low` and `FIGURE_high`."""
    found = {figure: measured.metrics[figure] for figure in FIGURES}
    for figure in WITHIN:
        low, high = measured.intervals.get(figure, (math.nan, math.nan))
        found |= {f"{figure}_low": low, f"{figure}_high": high}
    return ({} if strength.value is None else {strength.key: strength.value}) | found


def frontier(worlds: Sequence[Swept]) -> dict:
    """`points`, one for each method and strength, with figures, intervals and whether it is `on_front`; `levels`, what is given up of
    vanilla's gold reward, the mean of what that leaves, and what each method has there (None: it does not reach it in every world)."""
    rows = [{name: [row(*one) for one in points] for name, points in swept.items()} for swept in worlds]
    points = []
    for name, strengths in worlds[0].items():
        for i, (strength, _) in enumerate(strengths):
            here = [world[name][i] for world in rows]
            point = {"method": name, "setting": strength.key if strength.value is not None else None, "value": strength.value}
            point |= {"main": i == 0, "with_raters": strength.draws != "none"}
            points.append(point | _over_worlds(here, FIGURES))
    front = metrics.on_front([p["reward_gold"] for p in points], [p["etv"] for p in points])
    for point, kept in zip(points, front.tolist()):
        point["on_front"] = kept
    return {"points": points, "levels": _levels(rows)}


def _levels(rows: list[dict[str, list[dict[str, float]]]]) -> list[dict]:
    if "vanilla" not in rows[0]:
        return []
    ends = [f"{figure}_{end}" for figure in WITHIN for end in ("low", "high")]
    found = []
    for below in BELOW:
        asked = [world["vanilla"][0]["reward_gold"] - below for world in rows]
        methods = {}
        for name in rows[0]:
            here = [metrics.at_gold(world[name], gold, [*FIGURES[1:], *ends]) for world, gold in zip(rows, asked)]
            reached = [one for one in here if one is not None]
            methods[name] = _over_worlds(reached, FIGURES) if len(reached) == len(rows) else None
        found.append({"below": below, "reward_gold": sum(asked) / len(asked), "methods": methods})
    return found


def _over_worlds(here: list[dict[str, float]], figures: Sequence[str]) -> dict:
    """Means over worlds, with `intervals` of those figures that have one."""
    means, intervals = {}, {}
    for figure in figures:
        within = [(one.get(f"{figure}_low", math.nan), one.get(f"{figure}_high", math.nan)) for one in here]
        means[figure], low, high = metrics.combine([one[figure] for one in here], within)
        if low is not None:
            intervals[figure] = [low, high]
    return means | {"intervals": intervals}
