"""A label column that repeats the text of the preferred answer: read as its side, row by row."""

import pandas as pd

from raterhf.data.schema import Part
from raterhf.data.suggest import is_said, said_text
from raterhf.data.words import Said, canonical, is_mark, read_word

ENOUGH = 0.5
"""Least share of labels (other words apart) that repeat an answer where labels are texts; the rest are faults of their rows."""
NEITHER = "is the text of neither answer, nor a word such as tie; correct it, or say in data.labels what it means"
SAME = "is the text of both answers, which are the same, and so says nothing; correct or remove the row"
TWO_WAYS = "is the text of one answer and a word that says something else, and can be read in two ways; correct or remove the row"


def read_sides(part: Part, cells: pd.Series, meanings: dict[str, Said]) -> tuple[pd.Series, dict[int, str]] | None:
    """The labels of the whole file with "a" or "b" for those that repeat that answer's text, and the faults of rows that cannot be read.

    None where the labels are no texts. Of the rest words are left to be read as such, and what is in `meanings` (`data.labels`).
    """
    if (
        all(canonical(cell) in meanings or is_mark(cell) for cell in cells.dropna().map(str).unique() if is_said(cell))
        or {"a", "b"} & meanings.keys()
    ):
        return None
    told, faults, repeated, others = list(cells), {}, 0, 0
    for i, (cell, a, b) in enumerate(zip(cells, *(part.rows.frame[part.names[side]] for side in "ab"))):
        if not is_said(cell):
            continue
        text, word = said_text(cell), read_word(canonical(cell))
        sides = [side for side, answer in (("a", a), ("b", b)) if text is not None and text == said_text(answer)]
        repeated += bool(sides)
        if len(sides) == 2:
            faults[i] = SAME
        elif sides and word is not None and word != read_word(sides[0]):
            faults[i] = TWO_WAYS
        elif sides:
            told[i] = sides[0]
        elif word is None and canonical(cell) not in meanings:
            faults[i] = NEITHER
            others += 1
    return (pd.Series(told, dtype=object), faults) if repeated and repeated >= ENOUGH * (repeated + others) else None
