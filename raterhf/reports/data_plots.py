"""Plots of the page of `raterhf data check`, as SVG texts: labels of each rater, lengths, agreement, who foretells choices, shortcuts."""

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raterhf.reports.style import LETTER, STYLE, WIDTH, canvas, colour, short, svg_text

BAR = 24  # pixels: of a lying bar and its room
BINS = 25


def plots(figures: dict) -> dict[str, str]:
    """Name -> SVG of what was measured."""
    with rc_context(STYLE):
        drawn = {"labels": labels_plot(figures["who"]["counts"])}
        tokens, words = figures["what"]["tokens"], figures["what"]["answer_words"]
        if tokens and tokens["lengths"]:
            drawn["lengths"] = lengths_plot(tokens["lengths"], "tokens of prompt and answer", tokens["window"])
        elif words and words["max"] > 1:
            drawn["lengths"] = lengths_plot(words, "words of an answer")
        if shares := figures["habits"].get("others", {}).get("shares"):
            drawn["others"] = shares_plot(shares)
        if person := next((kind["person"] for kind in figures["agreement"].values() if kind["person"]), None):
            names = {"others' labels alone": "others", "and the rater's own": "own", "and somebody else's": "another"}
            drawn["person"] = accuracy_plot({label: person[name] for label, name in names.items()}, "and the rater's own")
        if found := figures["shortcuts"]:
            drawn["shortcuts"] = accuracy_plot({short(rule["rule"], 28): rule["accuracy"] for rule in found["rules"]})
        return drawn


def labels_plot(counts: list[int]) -> str:
    """Labels of each rater, the most first; `counts` are in this order."""
    figure, (ax,) = canvas(WIDTH, 200, left=46, right=12, top=24, bottom=38)
    places = np.arange(1, len(counts) + 1)
    ax.fill_between(
        np.append(places - 0.5, len(counts) + 0.5), np.append(counts, counts[-1]), step="post", color=colour("raters"), linewidth=0
    )
    ax.set_xlim(0.5, len(counts) + 0.5)
    ax.set_ylim(0)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(True, axis="y")
    ax.set_xlabel("raters, the most labels first")
    ax.set_title("labels", loc="left", fontsize=11, pad=4)
    return svg_text(figure)


def lengths_plot(spread: dict, about: str, window: int | None = None) -> str:
    """A histogram of lengths; what lies above the 99th percentile stands in the last bar. `window` is marked."""
    edges, counts = (np.array(spread["histogram"][key], float) for key in ("edges", "counts"))
    figure, (ax,) = canvas(WIDTH, 200, left=46, right=16, top=24, bottom=38)
    ax.bar(edges[:-1], counts / counts.sum(), np.diff(edges), align="edge", color=colour("raters"), linewidth=0)
    if window is not None:
        ax.axvline(window, color=colour("vanilla"), linewidth=1.6)
        right = window > ax.get_xlim()[1] * 0.6
        ax.annotate(f"window {window} ", (window, ax.get_ylim()[1]), ha="right" if right else "left", va="top")
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(True, axis="y")
    ax.set_xlabel(about)
    ax.set_title("share of texts", loc="left", fontsize=11, pad=4)
    return svg_text(figure)


def shares_plot(shares: list[float]) -> str:
    """How often each rater chose as most others did: a histogram of raters, with the coin's half marked."""
    figure, (ax,) = canvas(WIDTH, 200, left=46, right=16, top=24, bottom=38)
    ax.hist(shares, bins=BINS, range=(0, 1), color=colour("raters"))
    ax.axvline(0.5, color=colour("population"), linewidth=1.6)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(True, axis="y")
    ax.set_xlabel("choices that most others made too")
    ax.set_title("raters", loc="left", fontsize=11, pad=4)
    return svg_text(figure)


def accuracy_plot(accuracies: dict[str, float], marked: str | None = None) -> str:
    """Lying bars of accuracies from a half to one, with the figure at the end of each; `marked` in the raters' colour."""
    left = 10 + LETTER * max(map(len, accuracies))
    figure, (ax,) = canvas(WIDTH, 34 + BAR * len(accuracies), left=left, right=40, top=8, bottom=26)
    places, values = np.arange(len(accuracies)), np.array(list(accuracies.values()))
    tints = [colour("raters") if name == marked or marked is None else colour("population") for name in accuracies]
    start = min(0.5, float(values.min()))
    ax.barh(places, values - start, 0.7, left=start, color=tints)
    for place, value in zip(places, values):
        ax.text(max(value, 0.5) + 0.008, place, f"{100 * value:.1f}", va="center", fontsize=10)
    ax.set_yticks(places, list(accuracies))
    ax.set_xlim(start, max(0.75, float(values.max())))
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(True, axis="x")
    return svg_text(figure)
