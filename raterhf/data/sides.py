"""A label column that repeats the text of the preferred answer, or names the model that wrote it: read as its side, row by row."""

import pandas as pd

from raterhf.data.schema import Part
from raterhf.data.suggest import is_said, said_text
from raterhf.data.words import Said, canonical, is_mark, read_word

ENOUGH = 0.5
"""Least share of labels (other words apart) that repeat an answer where labels are texts; the rest are faults of their rows."""
TEXTS = ("repeats the text of the preferred answer", "the text of")
MODELS = ("names the model that wrote the preferred answer", "the model of")


def read_sides(part: Part, cells: pd.Series, meanings: dict[str, Said]) -> tuple[pd.Series, dict[int, str], str] | None:
    """The labels of the whole file with "a" or "b" for those that repeat that answer's text, or name its model; the faults of rows that
    cannot be read; and which of the two the labels do.

    None where the labels are neither. Of the rest words are left to be read as such, and what is in `meanings` (`data.labels`).
    """
    if (
        all(canonical(cell) in meanings or is_mark(cell) for cell in cells.dropna().map(str).unique() if is_said(cell))
        or {"a", "b"} & meanings.keys()
    ):
        return None
    for names, words in ((("a", "b"), TEXTS), (("source_a", "source_b"), MODELS)):
        theirs = [part.names[name] for name in names]
        if set(theirs) <= set(part.rows.frame) and (found := _match(cells, [part.rows.frame[name] for name in theirs], meanings, words[1])):
            return *found, words[0]
    return None


def _match(cells: pd.Series, sides: list[pd.Series], meanings: dict[str, Said], of: str) -> tuple[pd.Series, dict[int, str]] | None:
    """Labels and faults, where enough labels are what stands on one of two sides of their row; else None."""
    neither = f"is {of} neither answer, nor a word such as tie; correct it, or say in data.labels what it means"
    same = f"is {of} both answers, which are the same, and so says nothing; correct or remove the row"
    two_ways = f"is {of} one answer and a word that says something else, and can be read in two ways; correct or remove the row"
    told, faults, repeated, others = list(cells), {}, 0, 0
    for i, (cell, a, b) in enumerate(zip(cells, *sides)):
        if not is_said(cell):
            continue
        text, word = said_text(cell), read_word(canonical(cell))
        found = [side for side, answer in (("a", a), ("b", b)) if text is not None and text == said_text(answer)]
        repeated += bool(found)
        if len(found) == 2:
            faults[i] = same
        elif found and word is not None and word != read_word(found[0]):
            faults[i] = two_ways
        elif found:
            told[i] = found[0]
        elif word is None and canonical(cell) not in meanings:
            faults[i] = neither
            others += 1
    return (pd.Series(told, dtype=object), faults) if repeated and repeated >= ENOUGH * (repeated + others) else None
