"""Who answered what, and which answers hang together: a heat map of raters and a matrix of pairs of questions, as SVG texts."""

import numpy as np
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from scipy.cluster.hierarchy import leaves_list, linkage

from raterhf.reports.style import CLASSES, LETTER, WIDTH, canvas, colour, short, svg_text


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
