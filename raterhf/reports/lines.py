"""Curves of several policies over one axis, as an SVG text."""

from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from raterhf.reports.style import LETTER, WIDTH, canvas, hue, policy_colour, policy_name, svg_text

DASHES = "-", (0, (5, 2)), (0, (1, 1.6)), (0, (6, 1.5, 1, 1.5))  # for the policies of one colour, in turn
ROW = 16  # pixels: of the legend


def lines_plot(curves, xlabel, ylabel, log=False, markers=False):
    """Curves {policy: (x, y)}; the policies of one colour are told apart by their dashes, the population's line is thick.

    `log`: both axes, and y is a share.
    """
    places, rows = _placed(curves)
    height = 214 + ROW * rows
    figure, (ax,) = canvas(WIDTH, height, left=44, right=12, top=26 + ROW * rows, bottom=38)
    for (name, (x, y)), (left, row, dash) in zip(curves.items(), places, strict=True):
        drawn = {"color": policy_colour(name), "linestyle": dash, "linewidth": 4 if name == "population" else 1.6}
        ax.plot(x, y, marker="o" if markers else None, markersize=3.5, **drawn)
        middle = 1 - (10 + ROW * row) / height
        ends = [left / WIDTH, (left + 18) / WIDTH]
        figure.add_artist(Line2D(ends, [middle, middle], transform=figure.transFigure, **drawn))
        figure.text((left + 22) / WIDTH, middle, policy_name(name), va="center")
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(0)
    ax.grid(True)
    ax.set_xlabel(xlabel)
    ax.set_title(ylabel, loc="left", fontsize=11, pad=4)
    return svg_text(figure)


def _placed(names):
    """(left edge in pixels, row, dashes) of each name's entry in the legend, and the number of rows."""
    places, x, row, seen = [], 6, 0, {}
    for name in names:
        wide = 22 + LETTER * len(policy_name(name)) + 12
        if x > 6 and x + wide > WIDTH:
            x, row = 6, row + 1
        turn = seen[hue(name)] = seen.get(hue(name), -1) + 1
        places.append((x, row, DASHES[turn % len(DASHES)]))
        x += wide
    return places, row + 1
