"""Plots of a comparison: from metrics.json, read as a dict, to SVG texts in the style of `pages/style.py`.

`draw` returns the questions' and the coherence plots, by file name; a plot whose figures are missing is
left out, never an error. (The trade-off plot has a file of its own.) Nothing here decides whether a figure is good, and nothing is
written to disk.
"""

import numpy as np
from matplotlib import rc_context
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.cluster.hierarchy import leaves_list, linkage

from raterhf.pages.style import CLASSES, LETTER, STYLE, WIDTH, canvas, colour, file_name, legend, policy_colour, short, svg_text

SERIES = ("population", "vanilla", "rater_new")
PANELS = ("real", "rater_new", "vanilla")
MANY_CLASSES = 20


def draw(metrics):
    """dict: file name without suffix -> SVG text, for every plot that `metrics` has the figures for."""
    with rc_context(STYLE):
        plots = {f"question-{key}": question_plot(q) for key, q in (metrics.get("questions") or {}).items()}
        coherence = metrics.get("coherence") or {}
        heat, mi = coherence.get("heat") or {}, coherence.get("mi") or {}
        matrices = {p: off_diagonal(mi[p]) for p in PANELS if mi.get(p)}
        top = max((np.nanmax(m, initial=1e-9) for m in matrices.values()), default=None)
        for panel in PANELS:
            if heat.get(panel):
                plots[f"answers-{panel}"] = heat_plot(heat[panel], coherence["questions"])
            if panel in matrices:
                plots[f"mi-{panel}"] = mi_plot(matrices[panel], coherence["questions"], top)
    return {file_name(name): svg for name, svg in plots.items() if svg}


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
    """Shares of answers: bars side by side, lying when names need it, one row a series when many."""
    measured = {name: p for name in series if (p := shares(question, name)) is not None}
    if not measured:
        return None
    labels = [short(c) for c in question["classes"]]
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


def heat_plot(answers, questions, limit=60):
    """Answers of up to `limit` raters: a column a rater, a row a question, a colour a class, a gap invalid.

    Columns are ordered by likeness (average linkage, Hamming distance): people of a kind stand together.
    """
    answers = np.asarray(answers, int)[:limit]
    if len(answers) > 2:
        answers = answers[leaves_list(linkage(answers, "average", metric="hamming", optimal_ordering=True))]
    left = 10 + LETTER * max(len(short(q)) for q in questions)
    figure, (ax,) = canvas(WIDTH, 26 + 18 * len(questions), left, right=6, top=4, bottom=22)
    for c in range(len(CLASSES)):
        # The last colour stands for every later class. One outline a colour keeps the file small.
        cells = np.argwhere(answers == c if c < len(CLASSES) - 1 else answers >= c)
        if len(cells):
            outline = Outline.make_compound_path(*(cell_outline(r, q) for r, q in cells))
            ax.add_patch(PathPatch(outline, facecolor=colour(f"class-{c}"), linewidth=0))
    ax.set(xlim=(0, len(answers)), ylim=(len(questions), 0), xticks=[])
    ax.set_xlabel(f"{len(answers)} raters, one a column", fontsize=10)
    ax.set_yticks(np.arange(len(questions)) + 0.5, [short(q) for q in questions])
    ax.spines["bottom"].set_visible(False)
    return svg_text(figure)


def cell_outline(column, row):
    top, bottom = row + 0.06, row + 0.94
    corners = [(column, top), (column + 1, top), (column + 1, bottom), (column, bottom), (column, top)]
    return Outline(corners, closed=True)


def off_diagonal(matrix):
    matrix = np.array(matrix, float)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def mi_plot(matrix, questions, top):
    """Mutual information of pairs of questions in nats, [Q, Q], shaded up to `top`, without the diagonal."""
    size = len(questions)
    left = 10 + LETTER * max(len(short(q)) for q in questions)
    cell = (WIDTH - left - 6) / size
    figure, (ax,) = canvas(WIDTH, 4 + cell * 0.8 * size + left * 0.8, left, right=6, top=4, bottom=left * 0.8)
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            depth = 0.05 + 0.6 * max(value, 0.0) / top
            corner = (j + 0.04, i + 0.04)
            ax.add_patch(Rectangle(corner, 0.92, 0.92, color=colour("raters"), alpha=depth, linewidth=0))
            if size <= 10:
                text = f"{value:.2f}".replace("0.", ".")
                ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=10)
    ax.set(xlim=(0, size), ylim=(size, 0))
    ax.set_xticks(np.arange(size) + 0.5, [short(q) for q in questions], rotation=45, ha="right")
    ax.set_yticks(np.arange(size) + 0.5, [short(q) for q in questions])
    ax.spines["bottom"].set_visible(False)
    return svg_text(figure)
