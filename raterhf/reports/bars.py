"""Shares of the answers to one question, policies side by side, as an SVG text."""

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raterhf.reports.style import LETTER, WIDTH, canvas, legend, policy_colour, short, svg_text

SERIES = ("population", "vanilla", "rater_new")
MANY_CLASSES = 20


def shares(question, series):
    """Shares of the K classes and of invalid answers, [K + 1], or None when they were not measured.

    A policy's `p` may leave the invalid class out; it is then what is missing to one.
    """
    if series == "population":
        p = question.get("population")
    else:
        p = ((question.get("policies") or {}).get(series) or {}).get("p")
    if p is None:
        return None
    p = np.asarray(p, float)
    return p if len(p) > len(question["classes"]) else np.append(p, max(0.0, 1 - p.sum()))


def question_plot(question, series=SERIES):
    """Shares of the answers to a question of metrics.json; None where no series was measured."""
    measured = {name: p for name in series if (p := shares(question, name)) is not None}
    return shares_plot(question["classes"], measured) if measured else None


def shares_plot(classes, measured):
    """Shares of answers {series: [K + 1]}: bars side by side, lying when names need it, one row a series when many."""
    labels = [short(c) for c in classes]
    if len(labels) > MANY_CLASSES:
        return rows_plot(labels, measured)
    room = (WIDTH - 46) / (len(labels) + 1.3)
    return bars_plot(labels, measured, upright=8 + LETTER * max(map(len, labels)) <= room)


def bars_plot(labels, measured, upright):
    # Room before the last class: "invalid" is not one of the population's answers.
    places = np.append(np.arange(len(labels)), len(labels) + 0.3)
    thick = 0.8 / len(measured)
    if upright:
        figure, (ax,) = canvas(WIDTH, 190, left=40, right=6, top=28, bottom=24)
    else:
        left = 10 + LETTER * max(len("invalid"), *map(len, labels))
        figure, (ax,) = canvas(WIDTH, 50 + 31 * len(places), left, right=16, top=28, bottom=20)
        ax.invert_yaxis()
    bar, along, across = (ax.bar, ax.yaxis, ax.xaxis) if upright else (ax.barh, ax.xaxis, ax.yaxis)
    for i, (name, p) in enumerate(measured.items()):
        bar(places + (i - (len(measured) - 1) / 2) * thick, p, thick * 0.9, color=policy_colour(name))
    across.set_ticks(places, [*labels, "invalid"])
    across.get_ticklabels()[-1].set_fontstyle("italic")
    along.grid(True)
    along.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    along.set_major_formatter(PercentFormatter(1, decimals=0))
    legend(figure, measured)
    return svg_text(figure)


def rows_plot(labels, measured):
    """One row of thin bars a series, on one scale; a bar that outgrows it is cut, its share written above."""
    figure, axes = canvas(WIDTH, 54 + 72 * len(measured), 34, right=16, top=40, bottom=20, rows=len(measured))
    last = len(labels) - 1
    places = np.append(np.arange(len(labels)), 1.13 * last)
    ceiling = 1.1 * max((p.max() for name, p in measured.items() if name != "vanilla"), default=1.0)
    for ax, (name, p) in zip(axes, measured.items(), strict=True):
        ax.vlines(places, 0, np.minimum(p, ceiling), color=policy_colour(name), linewidth=2)
        cut = sorted(np.flatnonzero(p > ceiling), key=lambda i: -p[i])
        notes = [f"{[*labels, 'invalid'][i]}: {p[i]:.0%}" for i in cut[:4]] + ["…"] * (len(cut) > 4)
        if cut:
            ax.set_title("cut: " + ", ".join(notes), loc="right", fontsize=10, pad=2)
        ax.set_ylim(0, ceiling)
        ax.yaxis.set_major_locator(MaxNLocator(2))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if ceiling > 0.03 else 1))
        ax.grid(True, axis="y")
    ticks = np.linspace(0, last, 5).round().astype(int)
    axes[-1].set_xticks([*ticks, places[-1]], [*(labels[i] for i in ticks), "invalid"])
    axes[-1].get_xticklabels()[-1].set_fontstyle("italic")
    axes[-1].set_xlim(-2, places[-1] + 2)
    legend(figure, measured)
    return svg_text(figure)
