"""What to do with a file whose columns are not ours: sentences that begin with a point, for the end of an error; "" where none fits.

Like `suggest.py` these are guesses by names and cells, for a person to judge.
"""

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from raterhf.data import convert
from raterhf.data.checks import is_missing
from raterhf.data.schema import NAMES, REQUIRED
from raterhf.data.suggest import LOOKED_AT, is_label_name, is_rater_name, is_rating_name, is_response_name, pasted, suggest, suggest_ratings

LOOKS_SIDED = "It looks like two answers and a label that says which is better, which this reads"
LOOKS_RATED = "It looks like answers and what they were rated, which this reads"
_NUMBERED = re.compile(r"(.*?)[ _.-]?(\d+)")


def remedy(kind: str, path: str, frame: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """The first that fits of: names in another spelling, columns numbered by annotator, one answer a row, a column for each annotator or
    attribute, objects in cells, and lists of them. `kind` is "" where that is not known."""
    frame = frame.head(LOOKED_AT).rename(columns=str)
    return (
        _respelled(kind, frame, columns) or _numbered(frame) or _judged(kind, path, frame, columns) or _attributes(frame) or _nested(frame)
    )


def _respelled(kind: str, frame: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Our names but for capitals, spaces and dashes."""
    ours = {name for one in ([kind] if kind else NAMES) for name in NAMES[one]} - set(frame) - set(columns)
    found = {name: theirs for theirs in map(str, frame) for name in [re.sub(r"[\s-]+", "_", theirs.strip().lower())] if name in ours}
    if not found or not any(set(needed) <= set(frame) | set(found) | set(columns) for needed in _needed()):
        return ""
    return f". The names differ in their spelling: {pasted('data.columns', dict(columns) | found)}"


def _needed() -> Iterable[tuple[str, ...]]:
    """Columns that are enough to read a file by."""
    return [("chosen", "rejected"), ("a", "b", "label"), *REQUIRED.values()]


def _numbered(frame: pd.DataFrame) -> str:
    """Several columns numbered alike, as rater_1, label_1, rater_2, label_2 or answer_0, score_0, answer_1, score_1: one row of several."""
    groups: dict[str, list[str]] = {}
    for name in map(str, frame):
        if found := _NUMBERED.fullmatch(name):
            groups.setdefault(found[1], []).append(name)
    groups = {stem: names for stem, names in groups.items() if len(names) > 1}
    said = [stem for stem in groups if is_label_name(stem) or is_rating_name(stem)]
    whose = [stem for stem in groups if stem not in said and (is_rater_name(stem) or is_response_name(stem))]
    if not said or not whose or sorted(_ends(groups[said[0]])) != sorted(_ends(groups[whose[0]])):
        return ""
    together = [stem for stem in groups if sorted(_ends(groups[stem])) == sorted(_ends(groups[said[0]]))]
    stems = [groups[stem][0][: -len(_ends(groups[stem])[0])] for stem in together]
    return (
        f". {', '.join(groups[whose[0]] + groups[said[0]])} look like several labels in one row; write one row a label (pandas: "
        f'pd.wide_to_long(frame.reset_index(), stubnames={stems}, i="index", j="place").reset_index(drop=True))'
    )


def _ends(names: list[str]) -> list[str]:
    return [re.search(r"\d+$", name)[0] for name in names]  # type: ignore[index]


def _judged(kind: str, path: str, frame: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Two answers and a label, or answers and ratings, under other names; or a column for each annotator."""
    people = convert.wide.annotators(frame, "comparisons") if kind != "ratings" else []
    found = suggest(frame, columns) if kind in ("", "comparisons") else None
    called = [name for name in people if is_label_name(name)]  # one is the label, and the others only hold small numbers
    if found and (called == [found.get("label", "label")] or len(people) < 2 or _has_rater(frame, found, people)):
        return f". {LOOKS_SIDED}: {pasted('data.columns', found)}"
    texts = convert.wide.has_pair(frame)
    asked = people if kind or len(people) > 1 else convert.wide.annotators(frame, "ratings")
    asked = asked if kind else [name for name in asked if len(name.split()) > 1]  # as the questions of a form
    if len(asked) > 1 and not texts and not convert.wide.has_response(frame):
        who = next((name for name in map(str, frame) if is_rater_name(name) and name not in asked), "PERSON")
        return (
            f". Each row looks like one person's answers to {len(asked)} questions, as forms write them; write one row an answer (pandas: "
            f'frame.melt(id_vars=["{who}"], var_name="prompt", value_name="label")) with the two texts that were shown'
        )
    if len(people) > 1 and texts:
        return (
            f". {', '.join(people[:3])}{' ...' if len(people) > 3 else ''} look like one annotator each: raterhf data convert --from wide "
            f"{path} --out labels.parquet"
        )
    if kind in ("", "ratings") and (rated := suggest_ratings(frame, columns)):
        return f". {LOOKS_RATED}: {pasted('data.columns', rated)}"
    return ""


def _has_rater(frame: pd.DataFrame, found: dict[str, str], people: list[str]) -> bool:
    """Whether one column says who judged, so that no other is named after one annotator."""
    return "rater_id" in frame or found.get("rater_id", people[0]) not in people


def _attributes(frame: pd.DataFrame) -> str:
    """A column of numbers for each attribute, or for each annotator, beside one answer a row."""
    names = convert.wide.annotators(frame, "ratings")
    if "rating" in frame or len(names) < 2 or not convert.wide.has_response(frame):
        return ""
    others = [name for name in map(str, frame) if name not in names]
    shown = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
    melt = f'frame.melt(id_vars={others}, var_name="NAME", value_name="rating")'
    if any(is_rater_name(name) for name in others):
        return f". {shown} look like ratings of one attribute each; write one row a rating (pandas: {melt.replace('NAME', 'attribute')})"
    return (
        f". {shown} look like ratings by one annotator each, or of one attribute each; write one row a rating (pandas: {melt}, where NAME "
        "is rater_id or attribute)"
    )


def _nested(frame: pd.DataFrame) -> str:
    """A column whose cells are lists of objects that are no messages, or objects."""
    for name in frame:
        cells = [cell for cell in frame[name] if not is_missing(cell)]
        if not cells or not all(isinstance(cell, list | dict) and cell for cell in cells):
            continue
        if all(isinstance(cell, dict) for cell in cells):
            if any(isinstance(value, list | dict) for cell in cells for value in cell.values()):
                continue
            return f'. {name} holds an object a row; make columns of it (pandas: frame.join(pd.json_normalize(frame.pop("{name}"))))'
        items = [item for cell in cells for item in cell]
        if all(isinstance(item, dict) and {"role", "from"} & item.keys() for item in items) and not _has_answers(frame):
            return (
                f'. {name} holds whole conversations; give the answer a column (pandas: frame["completion"] = frame["{name}"].str[-1:]; '
                f'frame["prompt"] = frame.pop("{name}").str[:-1])'
            )
        if all(isinstance(item, dict) and not {"role", "from"} & item.keys() for item in items):
            if len(frame) == 1:
                return (
                    f'. {name} holds a list of rows; write that list alone (python: json.dump(json.load(open("FILE"))["{name}"], '
                    'open("rows.json", "w")))'
                )
            return (
                f". {name} holds several objects a row, such as what several people said; write one row each (pandas: "
                f'frame = frame.explode("{name}", ignore_index=True); frame = frame.join(pd.json_normalize(frame.pop("{name}"))))'
            )
    return ""


def _has_answers(frame: pd.DataFrame) -> bool:
    return bool({"chosen", "rejected", "a", "b", "completion", "response"} & set(frame))
