"""The frontier of a comparison in a simulated world: a plot of every method at each strength, and a table of them at equal gold reward.

Takes metrics.json as a dict (`frontier`, `trainings`). The plot comes in two widths, as the trade-off's (`tradeoff.py`), whose labels it
places. Points whose figures are missing are left out; those far to the left stand at the edge and say so.
"""

import csv
import io
from collections.abc import Iterable

from matplotlib import rc_context

from raterhf.reports.page import find, find_interval, interval_text, number
from raterhf.reports.style import STYLE, WIDTH, canvas, colour, policy_name, svg_text
from raterhf.reports.tradeoff import draw_frame, limits, place_labels
from raterhf.terminal import show_table

LEADING = ("rater_new", "vanilla")
SHOWN = 0.8  # of gold reward, how far below vanilla's the plot goes


def draw(metrics: dict) -> dict[str, str]:
    """File name without suffix -> SVG text; empty when there are fewer than two points."""
    points = [p for p in find(metrics, "frontier", "points") or [] if None not in (p.get("reward_gold"), p.get("etv"))]
    if len(points) < 2:
        return {}
    with rc_context(STYLE):
        return {name: _plot(points, *size) for name, size in {"frontier": (860, 560), "frontier-narrow": (WIDTH, 520)}.items()}


def _plot(points: list[dict], width: int, height: int) -> str:
    figure, (ax,) = canvas(width, height, left=50, right=10, top=10, bottom=40)
    best = max(p["reward_gold"] for p in points)
    left = max(min(p["reward_gold"] for p in points), min(best, _gold_of(points, "vanilla", best)) - SHOWN)
    heights = [end for p in points for end in (p["etv"], *(find_interval(p, "intervals", "etv") or ()))]
    ax.set(xlim=limits([left, best], 0.06), ylim=limits([0, *heights], 0.06))
    _draw_front(ax, [p for p in points if p["on_front"]])
    labels = []
    for name in dict.fromkeys(p["method"] for p in points):
        labels += _draw_method(ax, name, [p for p in points if p["method"] == name], left, every=width > 500)
    place_labels(figure, ax, sorted(labels, key=lambda label: -label[4]))
    draw_frame(ax, ("reward_gold", "etv"), None)
    return svg_text(figure)


def _gold_of(points: list[dict], name: str, otherwise: float) -> float:
    return next((p["reward_gold"] for p in points if p["method"] == name and p["main"]), otherwise)


def _draw_front(ax, front: list[dict]) -> None:
    """The Pareto front as steps: what is had at a gold reward of at least so much."""
    front = sorted(front, key=lambda p: p["reward_gold"])
    ax.step([p["reward_gold"] for p in front], [p["etv"] for p in front], where="pre", color=colour("faint"), linewidth=5, zorder=1)


def _draw_method(ax, name: str, rows: list[dict], left: float, every: bool) -> list[tuple]:
    """A line through a method's strengths with intervals; returns its labels: the name at its main point, and on a wide plot of our policy
    and vanilla the strengths at the others."""
    leading, shade = name in LEADING, colour("raters" if rows[0]["with_raters"] else "vanilla")
    rows = sorted(rows, key=lambda p: (p["value"] is not None, p["value"]))
    xs, ys = [max(p["reward_gold"], left) for p in rows], [p["etv"] for p in rows]
    ax.plot(xs, ys, color=shade, linewidth=2 if leading else 1, alpha=0.9 if leading else 0.55, zorder=2)
    labels = []
    for p, x, y in zip(rows, xs, ys):
        for across, along in ((find_interval(p, "intervals", "reward_gold"), None), (None, find_interval(p, "intervals", "etv"))):
            span = ([max(end, left) for end in across], (y, y)) if across else ((x, x), along) if along else None
            if span:
                ax.plot(*span, color=shade, linewidth=0.8, alpha=0.5)
        fill = shade if p["on_front"] else "none"
        ax.plot([x], [y], marker="o", markersize=8 if leading else 5, color=shade, markerfacecolor=fill, markeredgewidth=1.2, zorder=4)
        away = f"← at {number(p['reward_gold'])}: " if p["reward_gold"] < left else ""
        if p["main"]:
            labels.append((x, y, away + policy_name(name), shade, 11 if leading else 10))
        elif leading and every and p["value"] is not None:
            labels.append((x, y, f"{SYMBOLS.get(p['setting'], p['setting'])} {p['value']:g}", shade, 8))
    return labels


SYMBOLS = {"beta": "β"}


def at_equal_gold(metrics: dict) -> dict:
    """`levels` [(given up of vanilla's gold reward, gold reward)], and `rows` of methods: name, whether raters are told apart, updates and
    seconds that its last stage took as text, and its etv with interval at each level, None where it does not reach it. The best first."""
    levels = find(metrics, "frontier", "levels") or []
    methods: Iterable[str] = levels[0]["methods"] if levels else ()
    points = {p["method"]: p for p in find(metrics, "frontier", "points") or [] if p["main"]}
    rows = []
    for name in methods:
        cells = []
        for level in levels:
            found = level["methods"][name]
            cells.append((find(found, "etv"), find_interval(found, "intervals", "etv")))
        rows.append({"name": name, "with_raters": points[name]["with_raters"], "took": _took(metrics, name), "cells": cells})
    rows.sort(key=lambda row: [(value is None, value or 0.0) for value, _ in row["cells"]])
    return {"levels": [(level["below"], level["reward_gold"]) for level in levels], "rows": rows}


def _took(metrics: dict, name: str) -> list[str]:
    """Dashes where nothing was trained for the method, or it is not known."""
    cost = find(metrics, "trainings", {"rater_new": "policy", "vanilla": "vanilla policy"}.get(name, name)) or {}
    return ["–" if cost.get(key) is None else f"{cost[key]:.0f}" for key in ("updates", "seconds")]


def table_rows(metrics: dict) -> tuple[list[str], list[list[str]]]:
    """The table as text: its columns, and a row for each method."""
    found = at_equal_gold(metrics)
    columns = ["", "raters", "updates", "seconds"]
    columns += [f"etv at gold {number(gold)}" for _, gold in found["levels"]]
    rows = []
    for row in found["rows"]:
        cells = ["not reached" if value is None else f"{number(value)} {interval_text(span)}".rstrip() for value, span in row["cells"]]
        rows.append([policy_name(row["name"]), "yes" if row["with_raters"] else "no", *row["took"], *cells])
    return columns, rows


def print_frontier(metrics: dict) -> None:
    """The table in the terminal, where there are two methods to compare."""
    columns, rows = table_rows(metrics)
    if len(rows) > 1:
        show_table(columns, rows, ["", "raters"], "the least etv at equal gold reward")


def points_csv(metrics: dict) -> str:
    """Every point as a row: method, setting, value, main, on_front, figures, and the ends of those that have an interval."""
    points = find(metrics, "frontier", "points") or []
    plain = []
    for point in points:
        row = {key: value for key, value in point.items() if key != "intervals"}
        ends = {f"{key}_{end}": span[i] for key, span in point["intervals"].items() for i, end in enumerate(("low", "high"))}
        plain.append(row | ends)
    names = list(dict.fromkeys(key for row in plain for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return text.getvalue()
