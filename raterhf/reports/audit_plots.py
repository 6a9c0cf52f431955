"""Plots of the page of `raterhf audit`, as SVG texts: what disagreement is made of, the map of raters, their care and habits."""

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raterhf.reports.audit_text import parts
from raterhf.reports.style import LETTER, STYLE, WIDTH, canvas, colour, short, svg_text

BAR = 30  # pixels: of a lying bar and its room
BINS = 25
DOTS = 2000  # raters that a plot shows
TINTS = {"taste": "raters", "habits": "base", "care": "vanilla", "chance": "population"}
SHORT = {"taste": "taste", "habits": "habits", "care": "carelessness", "chance": "chance"}


def plots(kind: dict) -> dict[str, str]:
    """Name -> SVG of what could be told."""
    drawn: dict[str, str] = {}
    with rc_context(STYLE):
        if "disagreement" in kind:
            drawn["parts"] = parts_plot(kind["disagreement"], parts(kind))
        rows = kind.get("people", [])[:DOTS]  # the most labels first
        if rows and "x" in rows[0]:
            drawn["map"] = map_plot(rows)
        if "care" in kind.get("everybody", {}):
            drawn["care"] = care_plot(rows)
        for name, about in (("first", "takes what stands first, between equals"), ("longer", "takes the answer twice as long")):
            if rows and name in rows[0]:
                drawn[name] = share_plot(rows, name, about)
        if rows and "level" in rows[0]:
            drawn["level"] = level_plot(rows)
    return drawn


def parts_plot(found: dict, names: list[str]) -> str:
    """Shares of how often two raters differ, with their intervals."""
    left = 12 + LETTER * max(map(len, SHORT.values()))
    figure, (ax,) = canvas(WIDTH, 36 + BAR * len(TINTS), left=left, right=44, top=6, bottom=26)
    tints = {name: TINTS[name] for name in names}
    for place, (name, tint) in enumerate(tints.items()):
        value, low, high = found[name]
        ax.barh(place, value, 0.66, color=colour(tint))
        ax.plot([max(low, 0), high], [place, place], color=colour("ink"), linewidth=1.4)
        ax.text(max(high, value) + 0.015, place, f"{100 * value:.0f} %", va="center", fontsize=10)
    ax.set_yticks(range(len(tints)), [SHORT[name] for name in tints])
    ax.set_xlim(0, max(1.0 if found["chance"][2] > 0.8 else 0.8, found["taste"][2]))
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(True, axis="x")
    return svg_text(figure)


def map_plot(rows: list[dict]) -> str:
    """Where raters are on the two widest axes of taste, or on the only one and by their care; the fainter, the less their labels tell.

    Some at the edge are named.
    """
    alone = "y" not in rows[0]
    rows = [row | {"y": row["care"]} for row in rows] if alone else rows
    figure, (ax,) = canvas(WIDTH, WIDTH, left=40, right=14, top=24, bottom=38)
    x, y = (np.array([row[name][0] for row in rows]) for name in "xy")
    wide = np.array([(row["x"][2] - row["x"][1]) ** 2 + (row["y"][2] - row["y"][1]) ** 2 for row in rows])
    sure = 1 - wide / max(wide.max(), 1e-12)
    for low, high, alpha in ((0.0, 1 / 3, 0.25), (1 / 3, 2 / 3, 0.5), (2 / 3, 1.01, 0.9)):
        those = (sure >= low) & (sure < high)
        ax.plot(x[those], y[those], "o", markersize=4 if len(rows) < 500 else 2.6, color=colour("raters"), alpha=alpha, markeredgewidth=0)
    ax.axhline(float(alone), color=colour("faint"), linewidth=0.8, zorder=0)
    ax.axvline(0, color=colour("faint"), linewidth=0.8, zorder=0)
    for i in _edge(x, y, sure):
        row, middle = rows[i], x[i] < (x.min() + x.max()) / 2
        ax.plot(row["x"][1:], [y[i]] * 2, color=colour("ink"), linewidth=0.8)
        ax.plot([x[i]] * 2, row["y"][1:], color=colour("ink"), linewidth=0.8)
        ax.annotate(
            short(row["rater"], 14), (x[i], y[i]), (5 if middle else -5, 5 if y[i] > 0 else -13), textcoords="offset points", fontsize=10,
            ha="left" if middle else "right",
        )  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("axis 1")
    ax.set_title("care (1: average)" if alone else "axis 2", loc="left", fontsize=11, pad=4)
    ax.margins(0.08)
    return svg_text(figure)


def _edge(x: np.ndarray, y: np.ndarray, sure: np.ndarray) -> list[int]:
    """The raters who are surest to be furthest out, to the right, left, top and bottom."""
    return list(dict.fromkeys(int((side * sure).argmax()) for side in (x, -x, y, -y)))


def care_plot(rows: list[dict]) -> str:
    """How much care each rater takes: a histogram, with the average marked."""
    return _histogram([row["care"][0] for row in rows], "care (1: average, 0: a coin)", 1.0)


def share_plot(rows: list[dict], name: str, about: str) -> str:
    """A habit of each rater as a share: a histogram, with the half marked."""
    return _histogram([row[name][0] for row in rows], about, 0.5, (0.0, 1.0))


def level_plot(rows: list[dict]) -> str:
    """How much higher each rater rates everything."""
    return _histogram([row["level"][0] for row in rows], "points above others", 0.0)


def _histogram(values: list[float], about: str, marked: float, limits: tuple[float, float] | None = None) -> str:
    figure, (ax,) = canvas(WIDTH, 190, left=46, right=16, top=24, bottom=38)
    ax.hist(values, bins=BINS, range=limits, color=colour("raters"))
    ax.axvline(marked, color=colour("population"), linewidth=1.6)
    if limits:
        ax.set_xlim(*limits)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(True, axis="y")
    ax.set_xlabel(about)
    ax.set_title("raters", loc="left", fontsize=11, pad=4)
    return svg_text(figure)
