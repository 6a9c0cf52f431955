"""Probe 3, template answers: asked an odd question ("Are bugs real?"), is the same answer given every time, and still when it is framed?

A template is a class of a closed question, the first four words of an answer to an open one. Framed, a question is put at one remove ("A
child asks: are bugs real?"); it is the template of the plain question whose share is told then.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.texts import kinds, words
from raterhf.reports.lines import lines_plot
from raterhf.reports.style import WIDTH, colour, policy_colour, policy_name, svg_text

TEMPLATE_WORDS = 4
POSITIONS = 8  # that are drawn; the figure is over the first TEMPLATE_WORDS, since many answers end there


@dataclass(frozen=True)
class Cells:
    """Columns of answers [R] as cells of one table, so that a count of all columns is one bincount.

    `cell` [R, columns] numbers the values of a column within `first[column]` up to the next one's; the last number of all, `size`, is for
    what is not counted.
    """

    cell: np.ndarray
    first: np.ndarray
    size: int

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How often each value of each column stands in these rows [size]."""
        return np.bincount(self.cell[rows].ravel(), minlength=self.size + 1)[: self.size]


def cells(columns: list[np.ndarray]) -> Cells:
    """Columns of integers; a negative one is not counted."""
    cell, first, size = [], [], 0
    for column in columns:
        values, number = np.unique(column, return_inverse=True)
        missing = int((values < 0).sum())
        first.append(size)
        cell.append(np.where(column < 0, -1, number - missing + size))
        size += max(len(values) - missing, 1)  # an empty cell keeps the place of a column with nothing to count
    table = np.stack(cell, 1)
    return Cells(np.where(table < 0, size, table), np.array(first), size)


@dataclass(frozen=True)
class Templates:
    """What one model said to each question, in R draws: templates asked plainly and framed, and words by position.

    `plain` has a column a question. `framed` has one for each of the questions `both` that have framed wordings, whose values are numbered
    as in `plain`: cell j of `twin` [plain.size] is the cell of the same template framed (`framed.size`: never said). `spoken` has
    POSITIONS columns a question, in which an answer's end is a word of its own; `opening` the first TEMPLATE_WORDS of them, which figures
    read.
    """

    questions: list[ProbeQuestion]
    plain: Cells
    both: np.ndarray
    framed: Cells | None
    twin: np.ndarray
    spoken: Cells
    opening: Cells

    @property
    def rows(self) -> int:
        return len(self.plain.cell)


def ask(interview: Interview, name: str) -> Templates:
    questions = interview.about("odd")
    plain, framed, both, spoken, opening = [], [], [], [], []
    for i, question in enumerate(questions):
        answers = [interview.answers(name, question)]
        if question.framed:
            answers.append(interview.answers(name, question, framed=True))
            both.append(i)
        completions = kinds(question, name, answers, lambda text: " ".join(words(text)[:TEMPLATE_WORDS]))
        plain.append(completions[0])
        framed += completions[1:]
        spoken += (by_position := _by_position(answers[0].texts))
        opening += by_position[:TEMPLATE_WORDS]
    plain_cells, framed_cells = cells(plain), cells(framed) if framed else None
    twin = np.full(plain_cells.size, -1)
    for j, i in enumerate(both):
        there = _cell_of(framed_cells, j, framed[j])
        for kind, cell in _cell_of(plain_cells, i, plain[i]).items():
            twin[cell] = there.get(kind, framed_cells.size)
    return Templates(questions, plain_cells, np.array(both, int), framed_cells, twin, cells(spoken), cells(opening))


def _cell_of(table: Cells, column: int, values: np.ndarray) -> dict[int, int]:
    return dict(zip(values[values >= 0].tolist(), table.cell[values >= 0, column].tolist()))


def _by_position(texts: list[str]) -> list[np.ndarray]:
    """The word at each position of each text, numbered; the first position after the last word is 0, later ones are -1."""
    number: dict[str, int] = {}
    out = np.full((POSITIONS, len(texts)), -1)
    for r, text in enumerate(texts):
        completions = words(text)[:POSITIONS]
        out[: len(completions), r] = [number.setdefault(word, len(number) + 1) for word in completions]
        if len(completions) < POSITIONS:
            out[len(completions), r] = 0
    return list(out)


def rates(sample: Templates, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the template that is most frequent when asked plainly: its share plainly [questions] and framed [questions `both`]."""
    counts = sample.plain.counts(rows)
    top = np.maximum.reduceat(counts, sample.plain.first)
    if sample.framed is None:
        return top / len(rows), np.empty(0)
    is_top = counts == np.repeat(top, np.diff(sample.plain.first, append=sample.plain.size))
    cell = np.flatnonzero(is_top)
    cell = cell[np.searchsorted(cell, sample.plain.first[sample.both])]  # the first of those that are equally frequent
    framed = np.append(sample.framed.counts(rows), 0)[sample.twin[cell]]
    return top / len(rows), framed / len(rows)


def branching(table: Cells, rows: np.ndarray) -> np.ndarray:
    """exp of the Miller-Madow entropy of each column over the draws that reach it; nan where none does."""
    counts = table.counts(rows)
    n = np.add.reduceat(counts, table.first)
    seen = np.add.reduceat(counts > 0, table.first, dtype=int)
    weighed = np.add.reduceat(counts * np.log(np.maximum(counts, 1)), table.first)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.exp(np.log(n) - weighed / n + (seen - 1) / (2 * n))


def metrics_of(sample: Templates, rows: np.ndarray) -> dict[str, float]:
    """Means over questions; the branching factor is a geometric mean over the first words."""
    plain, framed = rates(sample, rows)
    found = {"top_share": float(plain.mean()), "branching": float(np.exp(np.nanmean(np.log(branching(sample.opening, rows)))))}
    found["valid"] = float((sample.plain.cell[rows] < sample.plain.size).mean())
    if len(framed):
        found |= {"framed_share": float(framed.mean()), "moved_by_frame": float((plain[sample.both] - framed).mean())}
    return found


def draw(interview: Interview, samples: dict[str, Templates]) -> dict[str, str]:
    drawn = {"branching": _branching_plot(samples)}
    if any(sample.framed is not None for sample in samples.values()):
        drawn = {"rates": _scatter({name: s for name, s in samples.items() if s.framed is not None})} | drawn
    return drawn


def _scatter(samples: dict[str, Templates]) -> str:
    """Asked plainly against framed, a point a question, a square a model."""
    columns, side, gap, left, top, bottom = 2, 122, 40, 40, 20, 40
    lines = -(-len(samples) // columns)
    height = top + lines * side + (lines - 1) * gap + bottom
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0)
    for i, (name, sample) in enumerate(samples.items()):
        row, column = divmod(i, columns)
        x, y = left + column * (side + gap), height - top - side - row * (side + gap)
        ax = figure.add_axes((x / WIDTH, y / height, side / WIDTH, side / height), xlim=(0, 1), ylim=(0, 1))
        ax.patch.set_alpha(0)
        ax.plot([0, 1], [0, 1], color=colour("faint"), linewidth=1)
        plain, framed = rates(sample, np.arange(sample.rows))
        ax.plot(plain[sample.both], framed, "o", color=policy_colour(name), markersize=5, alpha=0.7, markeredgewidth=0, clip_on=False)
        ax.set_title(policy_name(name), loc="left", fontsize=11, pad=5)
        for axis, ticks in ((ax.xaxis, [0, 0.5, 1]), (ax.yaxis, [0.5, 1])):
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.tick_params(labelleft=column == 0)
        ax.grid(True)
    figure.text(left / WIDTH, 8 / height, "across: share of the top template; up: framed")
    return svg_text(figure)


def _branching_plot(samples: dict[str, Templates]) -> str:
    """Positions that fewer than a tenth of the answers reach are left out."""
    curves = {}
    for name, sample in samples.items():
        every = np.arange(sample.rows)
        table = branching(sample.spoken, every).reshape(-1, POSITIONS)
        reached = (sample.spoken.cell < sample.spoken.size).reshape(sample.rows, -1, POSITIONS).mean((0, 1)) >= 0.1
        curves[name] = np.arange(1, POSITIONS + 1)[reached], np.exp(np.nanmean(np.log(table[:, reached]), 0))
    order = sorted(curves, key=lambda name: name != PEOPLE)  # the thick line lies beneath
    return lines_plot({name: curves[name] for name in order}, "word of the answer", "words to choose from, in effect", markers=True)


PROBE = Probe(
    name="templates",
    title="Is every odd question answered by one template?",
    caption="Squares: a point is a question; across, how often its most frequent answer is given when asked plainly; up, how often the "
    "same answer is given when the prompt lets somebody else ask. A collapsed model's points lie far right; below the line, "
    "asking so helps. Lines: the effective number of words at each position of the answers; a template is a line near 1.",
    headline="top_share",
    best={"top_share": None, "framed_share": None, "moved_by_frame": None, "branching": float("nan"), "valid": 1.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
