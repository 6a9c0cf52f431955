"""Lines with their bands as an SVG text: a row for each model, on one scale, with the first model's line in each to compare with."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raterhf.reports.style import WIDTH, canvas, colour, policy_colour, policy_name, svg_text

ROW = 78  # pixels


def bands_plot(
    lines: dict[str, np.ndarray], x: Sequence[float], ticks: dict[float, str], about: str, percent: bool = False,
    dots: dict[str, tuple[float, float]] | None = None,
) -> str:  # fmt: skip
    """`lines` {model: [3, len(x)]} are values, low and high ends, nan where there are none; `ticks` labels by place,
    `about` the axis's name. `dots` {model: (x, y)} are single points beside the line.
    """
    figure, axes = canvas(WIDTH, 62 + ROW * len(lines), 44, right=12, top=24, bottom=38, rows=len(lines))
    reference = next(iter(lines))
    for ax, (name, (value, low, high)) in zip(axes, lines.items(), strict=True):
        tint = policy_colour(name)
        if name != reference:
            ax.plot(x, lines[reference][0], color=policy_colour(reference), linewidth=1.2, linestyle=(0, (2, 2)))
        ax.fill_between(x, low, high, color=tint, alpha=0.22, linewidth=0)
        ax.plot(x, value, color=tint, linewidth=2, marker="o", markersize=3.5)
        if dots:
            ax.plot(*dots[name], color=tint, marker="D", markersize=5.5, clip_on=False)
        ax.axhline(0, color=colour("population"), linewidth=1)
        ax.set_title(policy_name(name), loc="left", fontsize=11, pad=2)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        if percent:
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid(True, axis="y")
    axes[-1].set_xticks(list(ticks), list(ticks.values()))
    axes[-1].set_xlabel(about, labelpad=2)
    return svg_text(figure)
