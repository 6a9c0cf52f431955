"""A table with a column for each annotator: their labels of a, b or their ratings of a response. A cell that is empty, or says n/a, is no
label."""

import pandas as pd

from raterhf.data.checks import is_missing, number
from raterhf.data.convert.base import Ask, Converted, column, need
from raterhf.data.files import Rows
from raterhf.data.suggest import names_a_rater, said_text, two_answers
from raterhf.data.words import canonical, is_mark
from raterhf.errors import UserError

ABOUT = "a table with a column for each annotator; blanks are no labels"
PROMPT, RESPONSE = ("prompt", "question", "instruction"), ("response", "answer")
A, B = ("a", "response_a", "answer_a"), ("b", "response_b", "answer_b")
NOTHING = ("", "n/a", "na", "nan", "null", "-")
OURS = {"prompt", "chosen", "rejected", "a", "b", "response", "completion", "label", "rating", "rater_id", "split", "reason", "attribute",
        "strength", "lead_time", "annotation_id", "turn", "timestamp", "model", "model_a", "model_b", "source", "source_a", "source_b",
        "id", "index"}  # fmt: skip


def matches(frame: pd.DataFrame) -> bool:
    """Which columns are people is a guess: never taken for granted."""
    return False


def annotators(frame: pd.DataFrame, kind: str) -> list[str]:
    """The columns that look like one annotator's labels (comparisons) or ratings each: few values, all of them labels or numbers."""
    if kind not in ("comparisons", "ratings"):
        return []
    pair = _pair(frame) if kind == "comparisons" else None
    sides = [list(map(said_text, frame[name])) for name in pair or ()]
    names = [name for name in map(str, frame) if name.lower() not in OURS and name not in (pair or ()) and not names_a_rater(name)]
    return [name for name in names if _looks_judged(frame[name], kind, sides)]


def has_pair(frame: pd.DataFrame) -> bool:
    """Whether there are columns of a prompt and two answers, as conversion finds them."""
    return _pair(frame) is not None and _named(frame, PROMPT) is not None


def has_response(frame: pd.DataFrame) -> bool:
    return _named(frame, RESPONSE) is not None


def _named(frame: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """The first column of one of the names, whatever its capitals."""
    return next((there for name in names for there in map(str, frame) if there.strip().lower() == name), None)


def _pair(frame: pd.DataFrame) -> tuple[str, str] | None:
    """The columns of the two answers."""
    a, b = _named(frame, A), _named(frame, B)
    return (a, b) if a and b else two_answers(frame, set())


def _is_blank(cell: object) -> bool:
    return is_missing(cell) or (isinstance(cell, str) and cell.strip().lower() in NOTHING)


def _looks_judged(cells: pd.Series, kind: str, sides: list[list[str | None]]) -> bool:
    said = [cell for cell in cells if not _is_blank(cell)]
    if not said or any(isinstance(cell, list | dict) for cell in said):
        return False
    values = {number(cell) if number(cell) is not None else canonical(cell) for cell in said}
    if kind == "ratings":
        return all(isinstance(value, float) for value in values) and len(values) <= max(10, len(said) // 2)
    texts = zip(cells, *sides)
    return all(map(is_mark, values)) or all(is_mark(row[0]) or said_text(row[0]) in row[1:] for row in texts if not _is_blank(row[0]))


def convert(rows: Rows, ask: Ask) -> Converted:
    frame, made = rows.frame, Converted({})
    prompt = need(rows, ask, "prompt", *filter(None, [_named(frame, PROMPT)]))
    pair = _pair(frame) or ("", "")
    a, b = (column(rows, ask, side, *filter(None, [name])) for side, name in zip("ab", pair))
    response = _named(frame, RESPONSE) or ""
    texts = {"prompt": prompt, "a": a, "b": b} if a and b else {"prompt": prompt, "response": need(rows, ask, "response", response)}
    kind, value = ("comparisons", "label") if "a" in texts else ("ratings", "rating")
    people = list(ask.annotators) or [name for name in annotators(frame, kind) if name not in texts.values()]
    missing = [name for name in people if name not in frame]
    if missing or not people:
        raise UserError(
            f"{rows.name}: {'no column ' + missing[0] if missing else 'no column looks like the labels of one annotator'}; it has "
            f"{', '.join(map(str, frame.columns))}: name those that are people with --annotators A,B,C"
        )
    long = frame[[*dict.fromkeys(texts.values()), *people]].reset_index(names="place")
    long = long.melt(id_vars=["place", *dict.fromkeys(texts.values())], value_vars=people, var_name="rater_id", value_name=value)
    blank = long[value].map(_is_blank)
    made.left_out["cells that are blank or say n/a, and so no labels"] = int(blank.sum())
    long = long[~blank].sort_values("place", kind="stable").set_index("place")
    made.parts[kind] = pd.DataFrame(
        {name: long[theirs] for name, theirs in texts.items()} | {n: long[n] for n in ("rater_id", value)}
    ).astype(object)
    others = [str(name) for name in frame if name not in people and name not in texts.values()]
    made.notes.append(f"annotators are the columns {', '.join(people)}" + (f"; not read: {', '.join(others)}" if others else ""))
    return made
