"""What the converters share: what is asked of one, what it gives back, and how it says what was left out.

A converter is a file with `ABOUT` (one line), `matches(columns)` and `convert(rows, ask)`. It takes the rows of one file of a tool's export
and makes frames in our columns, by kind. The index of a frame is the place of the file's row that each of its rows was made of, so that a
later error names that row. Converters judge nothing: a missing text or a label that is none stays in the frame, and reading refuses it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raterhf.data.files import Rows
from raterhf.errors import UserError


@dataclass(frozen=True)
class Ask:
    """What the user said of the file: `columns` (our name -> the file's), names of `annotators`, and whether single `attributes` are
    wanted."""

    columns: dict[str, str] = field(default_factory=dict)
    annotators: tuple[str, ...] = ()
    attributes: bool = False


@dataclass
class Converted:
    """Frames by kind, what was left out (reason -> how often), and other things to tell."""

    parts: dict[str, pd.DataFrame]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        return [*self.notes, *(f"{count} left out: {reason}" for reason, count in self.left_out.items() if count)]


def table(columns: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    """A frame of object columns; a text is that of every row."""
    made = {name: [cells] * len(index) if isinstance(cells, str) else list(cells) for name, cells in columns.items()}
    return pd.DataFrame({name: pd.Series(cells, dtype=object, index=index) for name, cells in made.items()}, index=index)


def stack(records: list[tuple[int, dict]]) -> pd.DataFrame:
    """A frame of (place of the file's row, columns) pairs."""
    names = dict.fromkeys(name for _, record in records for name in record)
    index = pd.Index([place for place, _ in records], dtype=int)
    return table({name: [record.get(name) for _, record in records] for name in names}, index)


def column(rows: Rows, ask: Ask, name: str, *guesses: str) -> str | None:
    """The file's column for one of ours: the one the user named, or the first guess that is there. Raises UserError for a name that is
    not."""
    if name in ask.columns:
        if ask.columns[name] not in rows.frame:
            raise UserError(f"{rows.name}: no column {ask.columns[name]} (our {name}); it has {', '.join(map(str, rows.frame.columns))}")
        return ask.columns[name]
    return next((guess for guess in guesses if guess in rows.frame), None)


def need(rows: Rows, ask: Ask, name: str, *guesses: str) -> str:
    """As `column`; an error where there is none."""
    found = column(rows, ask, name, *guesses)
    if found is None:
        raise UserError(
            f"{rows.name}: which column is our {name}? It has {', '.join(map(str, rows.frame.columns))}: say so with --column {name}=NAME"
        )
    return found
