"""Plots of a comparison: from metrics.json, read as a dict, to SVG texts in the style of `style.py`.

`draw` returns the questions' and the coherence plots, by file name; a plot whose figures are missing is
left out, never an error. (The trade-off plot has a file of its own.) Nothing here decides whether a figure is good, and nothing is
written to disk.
"""

import numpy as np
from matplotlib import rc_context

from raterhf.reports.bars import question_plot
from raterhf.reports.heat import heat_plot, mi_plot, off_diagonal
from raterhf.reports.style import STYLE, file_name

PANELS = ("real", "rater_new", "vanilla")


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
