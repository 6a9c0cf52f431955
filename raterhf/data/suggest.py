"""Two answers and a label, or answers and ratings, under names that are not ours: the mapping that reads them, as a line to paste.

What stands here is a guess by names and cells. It is put into messages for a person to judge, and never taken by itself.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from itertools import permutations

import pandas as pd

from raterhf.data.checks import is_missing, number
from raterhf.data.words import is_mark
from raterhf.yaml_reader import parse_yaml

SIDES = (("a", "b"), ("1", "2"), ("left", "right"), ("first", "second"), ("one", "two"), ("0", "1"))
LOOKED_AT = 2000
"""Rows of a file that are looked at: a guess needs no more."""
MOST_STEPS = 5
"""How far from 0 graded labels go, at the most."""
NEARLY = 0.9
"""The share of cells that is nearly all of them: some are slips."""

_WORD = re.compile(r"\d+|[A-Z]+(?![^\W\d_A-Z])|[^\W\d_][^\W\d_A-Z]*")
_PLAIN = re.compile(r"\w(?:[\w .()/+-]*[\w.)])?")
_LABEL = re.compile(r"\b(prefer|label(?!l?er)|winner|choice|chose|better|best|vote\b|verdict|pick|select)")
_RATER = re.compile(
    r"\b(rater|annotator|judge\b|worker|labell?er|evaluator|reviewer|participant|respondent|user|person|coder|e ?mail|who\b)"
)
_RESPONSE = re.compile(r"\b(responses?|completions?|answers?|outputs?|generations?|reply|replies|text|joke|item)\b")
_RATING = re.compile(r"\b(ratings?|scores?|stars?|grades?|points|likert|quality)\b")
_PROMPT = re.compile(r"\b(prompt|question|instruction|query|input|context|task|request|scenario|situation)")


def suggest(frame: pd.DataFrame, columns: Mapping[str, str], label: str | None = None) -> dict[str, str] | None:
    """The mapping that reads a file as prompt, a, b, label and rater_id, with the file's own names; None where no two answers and a label
    are seen.

    `columns` is what the user mapped: kept, but for what the new mapping takes the place of. `label` is the label's column, where known.
    """
    frame = frame.head(LOOKED_AT).rename(columns=str)
    mapped = {name.removeprefix("comparisons."): theirs for name, theirs in columns.items()}
    mapped = {name: theirs for name, theirs in mapped.items() if name not in ("chosen", "rejected")}
    if label is not None:
        mapped |= {"label": label}
    taken = {name: mapped.get(name, name) for name in ("prompt", "a", "b", "label", "rater_id") if name in mapped or name in frame}
    if not {"a", "b"} <= taken.keys():
        if (answers := two_answers(frame, set(taken.values()))) is None:
            return None
        taken |= dict(zip("ab", answers))
    left = [name for name in map(str, frame) if name not in taken.values()]
    if "label" not in taken:
        sides = [frame[taken[side]] for side in "ab" if taken[side] in frame]
        if not (seen := [name for name in left if looks_like_label(name, frame[name], sides)]):
            return None
        taken["label"] = max(seen, key=lambda name: bool(_LABEL.search(spaced(name))))
    for ours, pattern in (("rater_id", _RATER), ("prompt", _PROMPT)):
        left = [name for name in map(str, frame) if name not in taken.values()]
        if ours not in taken and (seen := [name for name in left if pattern.search(spaced(name))]):
            taken[ours] = seen[0]
    result = {name: taken[name] for name in ("prompt", "a", "b", "label", "rater_id") if name in taken and taken[name] != name}
    return result | {name: theirs for name, theirs in mapped.items() if name not in taken and theirs != name}


def suggest_ratings(frame: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, str] | None:
    """The mapping that reads a file as prompt, response, rating and rater_id, by the names of columns; None where one of the first three
    is not seen."""
    mapped = {name.removeprefix("ratings."): theirs for name, theirs in columns.items() if theirs in frame}
    taken = {name: mapped.get(name, name) for name in ("prompt", "response", "rating", "rater_id") if name in mapped or name in frame}
    for ours, pattern in (("rating", _RATING), ("response", _RESPONSE), ("rater_id", _RATER), ("prompt", _PROMPT)):
        left = [name for name in map(str, frame) if name not in taken.values()]
        if ours not in taken and (seen := [name for name in left if pattern.search(spaced(name))]):
            taken[ours] = seen[0]
    if not {"prompt", "response", "rating"} <= taken.keys():
        return None
    return {name: theirs for name, theirs in (mapped | taken).items() if theirs != name}


def is_rater_name(name: str) -> bool:
    return _RATER.search(spaced(name)) is not None


def names_a_rater(name: str) -> bool:
    """Whether a column is called as those that hold who judged, and not after one of them, as "Annotator 1" is."""
    return is_rater_name(name) and all(_RATER.fullmatch(word) or word in ("id", "name", "hash", "index") for word in spaced(name).split())


def is_label_name(name: str) -> bool:
    return _LABEL.search(spaced(name)) is not None


def is_response_name(name: str) -> bool:
    return _RESPONSE.search(spaced(name)) is not None


def is_rating_name(name: str) -> bool:
    return _RATING.search(spaced(name)) is not None


def looks_like_label(name: str, cells: pd.Series, answers: list[pd.Series]) -> bool:
    """Whether nearly all cells that are there name a side or a tie, or are the text of one of the answers beside them.

    Numbers alone are a label only under such a name as "winner": then also small ones around 0.
    """
    rows = [row for row in zip(cells, *answers) if is_said(row[0])]
    numbers = [value for row in rows if (value := number(row[0])) is not None]
    if not rows or len(numbers) == len(rows) and not is_label_name(name):
        return False
    if len(numbers) == len(rows) and min(numbers) < 0 and max(map(abs, numbers)) <= MOST_STEPS:
        return True
    return sum(is_mark(row[0]) or said_text(row[0]) in map(said_text, row[1:]) for row in rows) >= NEARLY * len(rows)


def are_marks(cells: Iterable) -> float:
    """The share of marks such as A, tie or left among the cells that are there; 0 where none is."""
    said = [is_mark(cell) for cell in cells if is_said(cell)]
    return sum(said) / len(said) if said else 0.0


def is_said(cell: object) -> bool:
    return not is_missing(cell) and cell != ""


def said_text(cell: object) -> str | None:
    """The text of a cell or of the one message in it, without white space around it; None for what is neither."""
    if isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], dict):
        cell = cell[0].get("content")
    return str(cell).strip() or None if isinstance(cell, str | int) else None


def spaced(name: str) -> str:
    """A column's name as lower-case words: "answer a" for AnswerA and answer_a."""
    return " ".join(word.lower() for word in _WORD.findall(name))


def pasted(key: str, mapping: Mapping[str, str]) -> str:
    """`key={...}` as one word of a shell, whose braces hold YAML."""
    return shlex.quote(f"{key}={{{', '.join(f'{quoted(name)}: {quoted(value)}' for name, value in mapping.items())}}}")


def quoted(text: str) -> str:
    """A text as YAML inside braces: with quotes where they are needed. A number stays one, and "?" is there to be replaced."""
    if text == "?" or number(text) is not None or _PLAIN.fullmatch(text) and parse_yaml(text) == text:
        return text
    return json.dumps(text, ensure_ascii=False)


def two_answers(frame: pd.DataFrame, taken: set[str]) -> tuple[str, str] | None:
    """The two columns of texts whose names differ in the side alone; of several pairs the one with the longest texts."""
    words = {name: spaced(name).split() for name in map(str, frame) if name not in taken}
    found = [(one, two) for one, two in permutations(words, 2) if _opposite(words[one], words[two])]
    found = [pair for pair in found if all(_is_text(frame[name]) for name in pair)]
    return max(found, key=lambda pair: sum(frame[name].map(lambda cell: len(str(cell))).mean() for name in pair), default=None)


def _opposite(one: list[str], two: list[str]) -> bool:
    return len(one) == len(two) and [pair for pair in zip(one, two) if pair[0] != pair[1]] in [[side] for side in SIDES]


def _is_text(cells: pd.Series) -> bool:
    said = [cell for cell in cells if is_said(cell)]
    return bool(said) and sum(isinstance(cell, str) and not is_mark(cell) and number(cell) is None for cell in said) > len(said) / 2
