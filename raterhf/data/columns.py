"""From a file's columns to ours: renaming, what must be there, and the choice of rows by their `split`.

Kinds of files and their columns stand in `NAMES`. `{"prompt": "statement"}` maps our name to the file's for
every kind, `{"demonstrations.prompt": "statement"}` for one kind, and goes first. A name with braces is a template
that makes one column of several: `{"demonstrations.prompt": "{discussion}: {statement}"}`. Other columns are left
out and counted.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pandas as pd

from raterhf.data.checks import Problems, is_missing, split_fault
from raterhf.data.files import Rows, read_rows
from raterhf.errors import UserError

NAMES = {
    "comparisons": ("prompt", "chosen", "rejected", "a", "b", "label", "rater_id", "split"),
    "ratings": ("prompt", "response", "rating", "rater_id", "split"),
    "demonstrations": ("prompt", "completion", "rater_id", "split"),
    "raters": ("rater_id", "persona", "group", "split"),
}
REQUIRED = {
    "ratings": ("prompt", "response", "rating", "rater_id"),
    "demonstrations": ("prompt", "completion", "rater_id"),
    "raters": ("rater_id",),
}
DATA_KINDS = ("comparisons", "ratings", "demonstrations")
_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Request:
    """What the user asked for. `paths` by kind; `split` None is every row; `group_column` is of data."""

    paths: dict[str, list[str]]
    columns: dict[str, str] = field(default_factory=dict)
    split: tuple[str, ...] | None = None
    group_column: str | None = None

    def names(self, kind: str) -> dict[str, str]:
        """Our name -> the file's."""
        names = {n: self.columns.get(f"{kind}.{n}", self.columns.get(n, n)) for n in NAMES[kind]}
        if self.group_column and kind in DATA_KINDS:
            names["group"] = self.group_column
        return names


@dataclass(frozen=True)
class Part:
    """The chosen rows of one file under our names; the index is the row's place in `rows`."""

    rows: Rows
    frame: pd.DataFrame


def read_parts(kind: str, request: Request, problems: Problems, counts: dict) -> list[Part]:
    """The files of one kind. Counts files, read, columns_ignored, and of data other_split and split."""
    files = [fill_templates(read_rows(path), request.names(kind).values()) for path in request.paths[kind]]
    found = [(rows, _rename(kind, rows, request)) for rows in files]
    counts["files"] = request.paths[kind]
    counts["read"] = sum(len(frame) for _, frame in found)
    counts["columns_ignored"] = {rows.name: ignored for rows, frame in found if (ignored := _ignored(kind, rows, frame, request))}
    if kind == "raters":  # its `split` is a column of the rater, not a choice of rows
        return [Part(rows, frame) for rows, frame in found]
    splits = Counter(str(cell) for _, frame in found if "split" in frame for cell in frame["split"])
    counts["split"] = dict(sorted(splits.items()))
    parts = [_choose(rows, frame, request.split, problems) for rows, frame in found]
    counts["other_split"] = counts["read"] - sum(len(part.frame) for part in parts)
    if counts["read"] == counts["other_split"] > 0:
        assert request.split is not None  # without one no row is left out
        there = ", ".join(f"{value} ({n} rows)" for value, n in counts["split"].items())
        raise UserError(
            f"{', '.join(request.paths[kind])}: no row has split {' or '.join(request.split)}; there are "
            f"{there}{_nearest(request.split[0], list(counts['split']))}: ask for one of them"
        )
    return parts


def fill_templates(rows: Rows, names: Iterable[str]) -> Rows:
    """The rows with a column more for each of `names` that is a template, under that name.

    A cell is None where one it is made of is missing, so that the row is reported like any without its text. Raises UserError where
    the file lacks a column that a template names.
    """
    made: dict[str, list] = {}
    for template in names:
        used = _FIELD.findall(template)
        missing = [name for name in used if name not in rows.frame]
        if missing:
            there = [str(name) for name in rows.frame.columns]
            raise UserError(
                f"{rows.name}: no column {missing[0]}, which the template {template!r} names; it has {', '.join(there)}"
                f"{_nearest(missing[0], there)}: correct the template, or give it for one kind of file as in "
                "{'demonstrations.prompt': ...}"
            )
        if used:
            cells = zip(*(rows.frame[name] for name in used))
            made[template] = [None if any(map(is_missing, row)) else _fill(template, row) for row in cells]
    return replace(rows, frame=rows.frame.assign(**made).astype(dict.fromkeys(made, object))) if made else rows


def _fill(template: str, cells: tuple) -> str:
    """The template with its fields replaced in order."""
    values = iter(cells)
    return _FIELD.sub(lambda _: str(next(values)), template)


def check_columns(request: Request) -> None:
    """Raise UserError for a mapping from a name that no kind of file has."""
    known = sorted({n for names in NAMES.values() for n in names} | {f"{k}.{n}" for k in NAMES for n in NAMES[k]})
    for name in request.columns:
        if name not in known:
            raise UserError(
                f"columns: {name!r} is no column of ours{_nearest(name, known)}; "
                "map our names to the file's, as in {'completion': 'vote'} or {'ratings.prompt': 'question'}"
            )


def check_mapped(request: Request, parts: dict[str, list[Part]]) -> None:
    """Raise UserError for a column the user named that no file of a kind they gave has."""
    for name, theirs in request.columns.items():
        given = [part for k in parts if name in NAMES[k] or name.startswith(f"{k}.") for part in parts[k]]
        if given and not any(theirs in part.rows.frame for part in given):
            raise _missing_mapped(f"columns: {name!r}", theirs, given)
    data = [part for k in DATA_KINDS for part in parts[k]]
    if request.group_column and not any("group" in part.frame for part in data):
        raise _missing_mapped("group_column", request.group_column, data)


def _missing_mapped(what: str, theirs: str, parts: list[Part]) -> UserError:
    there = sorted({str(name) for part in parts for name in part.rows.frame.columns})
    files = ", ".join(part.rows.name for part in parts)
    return UserError(
        f"{what} is {theirs!r}, a column that none of {files} has; there are {', '.join(there)}{_nearest(theirs, there)}: correct the name"
    )


def _rename(kind: str, rows: Rows, request: Request) -> pd.DataFrame:
    """The columns of ours in the file, under our names. Raises UserError when one it needs is missing."""
    names = request.names(kind)
    required = REQUIRED[kind] if kind in REQUIRED else _comparison_columns(rows, names)
    required += ("split",) if request.split and kind in DATA_KINDS else ()
    there = [str(name) for name in rows.frame.columns]
    missing = [name for name in required if names[name] not in there]
    if missing:
        listed = ", ".join(n if names[n] == n else f"{names[n]} (our {n})" for n in missing)
        raise UserError(
            f"{rows.name}: no column {listed}; {kind} need {', '.join(required)}, and it has "
            f"{', '.join(there)}{_nearest(names[missing[0]], there)}: rename the column, or map it as in "
            f"data.columns={{{missing[0]}: its name there}}"
        )
    taken = required + tuple(n for n in names if n in ("split", "persona", "group") and n not in required)
    return pd.DataFrame({name: rows.frame[names[name]] for name in taken if names[name] in there})


def _comparison_columns(rows: Rows, names: dict[str, str]) -> tuple[str, ...]:
    """The columns of the form of comparison the file has: chosen and rejected, or a, b and label."""
    has = {name for name, theirs in names.items() if theirs in rows.frame}
    if {"chosen", "rejected", "a", "b"} <= has:
        raise UserError(f"{rows.name}: chosen and rejected beside a and b; a file has one form: remove two columns")
    if not has & {"chosen", "rejected", "a", "b"}:
        raise UserError(
            f"{rows.name}: no column chosen; comparisons need prompt, chosen, rejected, rater_id or "
            f"prompt, a, b, label, rater_id, and it has {', '.join(map(str, rows.frame.columns))}: rename "
            "them, or map them in a recipe, as in data.columns={chosen: its name there}"
        )
    answers = ("a", "b", "label") if has & {"a", "b"} else ("chosen", "rejected")
    # TRL's implicit prompt: both answers are whole conversations.
    implicit = "prompt" not in has and any(
        isinstance(cell, list) for name in answers[:2] if name in has for cell in rows.frame[names[name]]
    )
    return (() if implicit else ("prompt",)) + answers + ("rater_id",)


def _ignored(kind: str, rows: Rows, frame: pd.DataFrame, request: Request) -> list[str]:
    used = {request.names(kind)[name] for name in frame.columns}
    used |= {name for template in used for name in _FIELD.findall(template)}
    return sorted(str(name) for name in set(rows.frame.columns) - used)


def _choose(rows: Rows, frame: pd.DataFrame, split: tuple[str, ...] | None, problems: Problems) -> Part:
    if split is None:
        return Part(rows, frame)
    problems.check(rows, frame["split"], "split", split_fault)
    # A row without a split stays, so that it is reported, not passed over.
    return Part(rows, frame[[value in split or split_fault(value) != "" for value in frame["split"]]])


def _nearest(name: str, there: list[str]) -> str:
    folded = {value.lower(): value for value in there}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f" (nearest: {folded[close[0]]})" if close else ""
