"""What the values of a `label` column say: who is better, by how much, and whether both are good or bad.

`data.labels` says it: a map from the file's values to `a`, `b`, `tie`, `both good`, `both bad` or `skip` (no label), with a strength after
it where the values are graded (`a 2`), or the name of one of `PRESETS`. Without it only values that can be read in one way are taken: 1, -1
and 0, and words that name a, b or a tie. Values that can be read in two ways are an error, whatever share of bad rows is allowed. A column
that repeats the text of the preferred answer is read as its side.
"""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from raterhf.data.checks import Problems, is_missing, number
from raterhf.data.convert import recognise
from raterhf.data.schema import Part
from raterhf.data.sides import read_sides
from raterhf.data.suggest import pasted
from raterhf.data.words import Said, bare, canonical, read_word
from raterhf.errors import UserError

Meanings = dict[Any, Any] | str | None

WORDS = ("a", "b", "tie", "both good", "both bad", "skip")
PRESETS: dict[str, dict[str, str]] = {
    "left-right": {"left": "a", "right": "b", "tie": "tie", "equal": "tie", "both": "tie"},
    "first-second": {"first": "a", "second": "b", "tie": "tie", "equal": "tie"},
    "one-two": {"1": "a", "2": "b", "0": "tie", "1.5": "tie", "tie": "tie", "equal": "tie"},
    "zero-one": {"1": "a", "0": "b", "0.5": "tie", "tie": "tie"},
    "one-zero": {"0": "a", "1": "b", "0.5": "tie", "tie": "tie"},
    "true-false": {"true": "a", "false": "b", "tie": "tie"},
}
GRADED = ("minus-first", "plus-first")
"""Presets for numbers around 0 whose size is the strength: minus prefers a (HelpSteer3), or plus does."""

MOST = 20
"""More values than this are no labels that a person would write a map of."""
FAULT = "is not 1 (a is better), -1 (b is) or 0 (a tie); correct it"
MISSING = 'is missing; write it, remove the row, or leave such rows out: data.labels says what every value means, and "": skip'
_SAID = re.compile(r"(both good|both bad|tie|skip|a|b)(?: +(\d+(?:\.\d+)?))?")


def parse_meanings(labels: Meanings) -> dict[str, Said] | str | None:
    """The setting, checked: a map by `canonical` value, the name of a graded preset, or None. Raises UserError."""
    if labels is None or (isinstance(labels, str) and labels in GRADED):
        return labels
    if isinstance(labels, str):
        if labels not in PRESETS:
            raise UserError(
                f"data.labels is {labels!r}; it is a map such as {{left: a, right: b}}, or one of {', '.join([*PRESETS, *GRADED])}"
            )
        labels = PRESETS[labels]
    return {canonical(value): _parse_said(value, said) for value, said in labels.items()}


def _parse_said(value: Any, said: Any) -> Said:
    text = {"1": "a", "-1": "b", "0": "tie"}.get(canonical(said), canonical(said))
    found = _SAID.fullmatch(text)
    if not found:
        raise UserError(f"data.labels: {value!r} means {said!r}; a meaning is one of {', '.join(WORDS)}, with a strength after a or b: a 2")
    word, strength = found[1], found[2]
    return Said(
        {"a": 1, "b": -1, "skip": None}.get(word, 0),
        float(strength) if strength else float("nan"),
        word[5:] if word[:4] == "both" else None,
    )


def read_meaning(parts: list[Part], labels: Meanings, problems: Problems, counts: dict) -> list[Part]:
    """The parts with `label` as 1, -1, 0, and `strength` and `both` where values say them. Bad labels are added to `problems`.

    Counts `labels_read` (what each value was read as, by file) and `skipped`. Raises UserError for values that can be read in several ways.
    """
    meanings = parse_meanings(labels)
    result = []
    for part in parts:
        if "label" in part.frame:
            part = _read_part(part, meanings, problems, counts)
        result.append(part)
    return result


def _read_part(part: Part, meanings: dict[str, Said] | str | None, problems: Problems, counts: dict) -> Part:
    theirs = part.names["label"]
    cells, told = part.rows.frame[theirs], []
    faults: dict[int, str] = {}
    given = meanings if isinstance(meanings, dict) else {}
    sided = None if isinstance(meanings, str) else read_sides(part, cells, given)
    if sided is None:
        known = _known(part, cells, theirs, meanings)
        fault = _fault(meanings, cells, known)
    else:
        repeated = cells
        cells, faults, repeated_what = sided
        words = {value: said for value in set(map(canonical, cells)) if (said := read_word(value)) is not None}
        known, fault = words | given, FAULT
        part = replace(part, frame=part.frame.assign(label=cells.loc[part.frame.index]))
        rows = sum(cells[i] is not repeated[i] for i in part.frame.index)
        told.append(f"{theirs} {repeated_what} in {rows} of {len(part.frame)} rows: it is read as a or b by that")
    read = _label(part, known, fault, faults, problems, counts)
    ties = [(value, one["rows"]) for value, one in counts["labels_read"][part.rows.name].items() if one["means"].startswith("both ")]
    if ties:
        told.append(
            f"{', '.join(f'{value!r} ({rows} rows)' for value, rows in ties)}: read as ties, which keep in column both what was said"
        )
    if told:
        counts["notes"].setdefault(part.rows.name, []).extend(told)
    return read


def _label(part: Part, known: dict[str, Said], fault: str, faults: dict[int, str], problems: Problems, counts: dict) -> Part:
    """The part with its labels read, without the rows that are to be skipped. `faults` are those of single rows, `fault` of all others."""
    codes, values = pd.factorize(pd.Series([_hashable(cell) for cell in part.frame["label"]], dtype=object))
    spelled = [canonical(value) for value in values]
    said = np.array([*(known.get(value) for value in spelled), known.get("")], dtype=object)[codes]  # the last: what is missing, code -1
    said[part.frame.index.isin(list(faults))] = None
    unread = np.array([one is None for one in said], bool)
    for index, value in part.frame.loc[unread, "label"].items():
        problems.add(part.rows, index, f"label {faults.get(index, MISSING if is_missing(value) or value == '' else fault)}", value)
    label = pd.Series([0 if one is None else one.label for one in said], dtype=object, index=part.frame.index)
    strength = np.array([np.nan if one is None else one.strength for one in said], float)
    both = pd.Series([None if one is None else one.both for one in said], dtype=object, index=part.frame.index)
    frame = part.frame.assign(label=label)
    if not np.isnan(strength).all():
        if "strength" in frame:
            raise UserError(f"{part.rows.name}: the labels say a strength and there is a column strength; leave one of them out")
        frame["strength"] = strength
    if both.notna().any():
        frame["both"] = both
    skipped = label.isna().to_numpy()
    sizes = Counter("" if code < 0 else spelled[code] for code in codes)
    counts.setdefault("labels_read", {})[part.rows.name] = _told(sizes, known)
    counts["skipped"] = counts.get("skipped", 0) + int(skipped.sum())
    return replace(part, frame=frame[~skipped])


def _hashable(cell: Any) -> Any:
    """A cell that can be told from all others by ==, as True and 1 cannot."""
    if cell == "":
        return None
    return canonical(cell) if isinstance(cell, bool) else repr(cell) if isinstance(cell, list | dict) else cell


def _fault(meanings: dict | str | None, cells: pd.Series, known: dict[str, Said]) -> str:
    if isinstance(meanings, dict):
        return "is none of the values in data.labels; add it there (as skip, if it is no label) or correct it"
    if meanings:
        return "is not a number around 0, as data.labels says; correct it"
    values = list(dict.fromkeys(canonical(cell) for cell in cells if not is_missing(cell) and cell != ""))
    odd = [value for value in values if value not in known]
    return f"{FAULT}, or say what every value means: {_to_fill(values, known)}" if odd and len(values) <= MOST else FAULT


def _told(sizes: Counter, known: dict[str, Said]) -> dict[str, dict]:
    """Value -> what it was read as and in how many rows."""
    words = {1: "a", -1: "b", 0: "tie", None: "skip"}
    found: dict[str, dict] = {}
    for value in sorted(sizes.keys() & known.keys()):
        said = known[value]
        strength = {} if np.isnan(said.strength) else {"strength": said.strength}
        found[value] = {"means": f"both {said.both}" if said.both else words[said.label], **strength, "rows": sizes[value]}
    return found


def _known(part: Part, cells: pd.Series, theirs: str, meanings: dict | str | None) -> dict[str, Said]:
    """Canonical value -> meaning, for the values of the file that can be read. Raises UserError where they can be in several ways."""
    sizes: Counter = Counter()
    for cell, rows in Counter(map(_hashable, cells)).items():
        if not is_missing(cell):
            sizes[canonical(cell)] += rows
    if isinstance(meanings, dict):  # response_1 is what the map says of 1, where it says nothing of response_1
        return {value: meanings[bare(value)] for value in sizes if bare(value) in meanings} | meanings
    if isinstance(meanings, str):
        return _graded(sizes, meanings)
    numbers = {value for value in sizes if number(value) is not None}
    plain = {value: Said(int(value)) for value in numbers & {"1", "-1", "0"}}
    if plain.keys() == {"0", "1"} == numbers and sum(sizes[value] for value in plain) > sum(sizes.values()) / 2:
        raise UserError(_two_readings(part, theirs, sizes))
    if numbers - plain.keys():
        raise UserError(_other_numbers(part, cells, theirs, sizes, numbers))
    words = {value: said for value in sizes if (said := read_word(value)) is not None}
    known = plain | words
    if sum(sizes[value] for value in known) * 2 < sum(sizes.values()):
        raise UserError(_unknown(part, theirs, sizes))
    return known


def _graded(sizes: Counter, preset: str) -> dict[str, Said]:
    first = -1 if preset == "minus-first" else 1
    found = {}
    for value in sizes:
        if (size := number(value)) is not None:
            found[value] = Said(int(np.sign(size)) * first, abs(size)) if size else Said(0)
    return found


def _shown(sizes: Counter) -> str:
    shown = [f"{value!r} ({rows} rows)" for value, rows in sizes.most_common(8)]
    return ", ".join(shown) + (f" and {len(sizes) - 8} more" if len(sizes) > 8 else "")


def _two_readings(part: Part, theirs: str, sizes: Counter) -> str:
    beside = [name for name in map(str, part.rows.frame.columns) if name != theirs and name.startswith(("winner_", "prefer_", "label_"))]
    tool = recognise(part.rows.frame)
    hint = f" Beside it stand {', '.join(beside)}, which belong to the same vote" if beside else ""
    hint += f"; the columns are those of {tool}, read whole without data.columns or by `raterhf data convert --from {tool}`" if tool else ""
    return (
        f"{part.rows.name}: the label ({theirs}) is only 0 and 1: {_shown(sizes)}. That can be read in two ways: 1 for a and 0 for b, or "
        "1 for a and 0 for a tie. Say which: data.labels={1: a, 0: b}, {0: a, 1: b} or {1: a, 0: tie}." + hint + ("." if hint else "")
    )


def _other_numbers(part: Part, cells: pd.Series, theirs: str, sizes: Counter, numbers: set[str]) -> str:
    odd = [i for i, cell in enumerate(cells) if not is_missing(cell) and canonical(cell) in numbers - {"1", "-1", "0"}]
    rows = ", ".join(f"{part.rows.where(i)} {cells.iloc[i]!r}" for i in odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
    found = [float(value) for value in numbers]
    if set(found) == {0, 1, 2}:
        remedy = (
            "If 1 is the first answer, 2 the second and 0 a tie: data.labels=one-two. If 0 is the first, 1 the second and 2 a tie: "
            "data.labels={0: a, 1: b, 2: tie}."
        )
    elif set(found) == {0, 0.5, 1}:
        remedy = "If 1 is the first answer and 0 the second: data.labels=zero-one. If 0 is the first: data.labels=one-zero."
    elif set(found) <= {0, 1, 1.5, 2}:
        remedy = "If 1 is the first answer and 2 the second: data.labels=one-two."
    elif min(found) < 0:
        remedy = (
            "If the numbers are graded, minus can stand for the first answer (as in HelpSteer3) or for the second: data.labels=minus-first "
            "or plus-first."
        )
    else:
        remedy = f"Say what each value means: {_to_fill(sorted(sizes), {})}."
    return f"{part.rows.name}: label {FAULT}: {rows}. The values of {theirs} are {_shown(sizes)}. {remedy}"


def _unknown(part: Part, theirs: str, sizes: Counter) -> str:
    for name, preset in PRESETS.items():
        if all(bare(value) in preset for value in sizes):
            pairs = ", ".join(f"{value}: {preset[bare(value)]}" for value in sizes)
            return (
                f"{part.rows.name}: label {FAULT}: the values of {theirs} are {_shown(sizes)}, which do not say which answer is a. "
                "If it is "
                f"as {{{pairs}}}, write data.labels={name}; if not, write the map"
            )
    if len(sizes) > MOST:
        return (
            f"{part.rows.name}: label {FAULT}: the values of {theirs} are {_shown(sizes)}. So many are no labels, and few are the text of "
            "an answer of their row: map as label the column that says which answer is better"
        )
    return (
        f"{part.rows.name}: label {FAULT}: the values of {theirs} are {_shown(sizes)}. Say what each means, one of {', '.join(WORDS)}: "
        f"{_to_fill([value for value, _ in sizes.most_common()], {value: said for value in sizes if (said := read_word(value))})}"
    )


def _to_fill(values: list[str], known: dict[str, Said]) -> str:
    """`data.labels` for all of a column's values, to be pasted with meanings in the place of question marks."""
    return pasted("data.labels", {value: _in_a_map(known[value]) if value in known else "?" for value in values})


def _in_a_map(said: Said) -> str:
    return f"both {said.both}" if said.both else {1: "a", -1: "b", 0: "tie"}[said.label or 0]
