"""From a file's columns to ours: tools' exports, renaming, what must be there, who is who, and the choice of rows by their `split`.

Kinds of files and their columns stand in `NAMES`. `{"prompt": "statement"}` maps our name to the file's for
every kind, `{"demonstrations.prompt": "statement"}` for one kind, and goes first. A name with braces is a template
that makes one column of several: `{"demonstrations.prompt": "{discussion}: {statement}"}`. A prompt that is no column but a
sentence is the prompt of every row: `{"prompt": "Tell me a joke."}`. Other columns are left out and counted.
"""

from collections import Counter
from dataclasses import replace
from statistics import median

import pandas as pd

from raterhf.data.checks import Problems, cut, split_fault
from raterhf.data.ids import prefixes, tidy_ids
from raterhf.data.opening import FIELD, fill_constant, nearest, open_part, read_implicit
from raterhf.data.remedies import remedy
from raterhf.data.schema import DATA_KINDS, EVERYONE, IMPLICIT, NAMES, OPTIONAL, REQUIRED, SOURCES, Part, Request
from raterhf.data.suggest import NEARLY, are_marks, looks_like_label, pasted, suggest
from raterhf.errors import UserError

SHORT = 3  # characters of an answer that may be a number or a letter


def read_parts(kind: str, request: Request, problems: Problems, counts: dict) -> list[Part]:
    """The files of one kind. Counts files, read, columns_ignored, notes, raters_in_files, and of data other_split and split."""
    counts["notes"] = {}
    found = [open_part(kind, path, request, counts["notes"]) for path in request.paths[kind]]
    if kind in DATA_KINDS:
        found = [fill_constant(kind, part, found, counts["notes"]) for part in found]
    found = [_named(kind, part, request, counts["notes"]) for part in found]
    counts["files"] = request.paths[kind]
    counts["read"] = sum(len(part.frame) for part in found)
    counts["columns_ignored"] = {part.rows.name: ignored for part in found if (ignored := _ignored(part))}
    if kind == "raters":  # its `split` is a column of the rater, not a choice of rows
        return found
    splits = Counter(str(cell) for part in found if "split" in part.frame for cell in part.frame["split"])
    counts["split"] = dict(sorted(splits.items()))
    parts = [_choose(part, request.split, problems) for part in found]
    counts["other_split"] = counts["read"] - sum(len(part.frame) for part in parts)
    counts["raters_in_files"] = sorted({str(cell) for part in found for cell in set(map(_listless, part.frame["rater_id"]))})
    if counts["read"] == counts["other_split"] > 0:
        assert request.split is not None  # without one no row is left out
        there = ", ".join(f"{value} ({n} rows)" for value, n in counts["split"].items())
        raise UserError(
            f"{', '.join(request.paths[kind])}: no row has split {' or '.join(request.split)}; there are "
            f"{there}{nearest(request.split[0], list(counts['split']))}: ask for one of them"
        )
    return parts


def _named(kind: str, part: Part, request: Request, notes: dict) -> Part:
    """The part under our names, raters told apart by file where asked."""
    part = replace(part, names=_sourced(kind, part))
    if kind == "comparisons":
        part = read_implicit(part, notes)
    frame = _rename(kind, part, request)
    if "chosen" in frame:
        _refuse_labels(part, frame, request)
    if kind == "demonstrations":
        _refuse_unpaired(part)
    if request.one_rater and kind in DATA_KINDS and "rater_id" not in frame:
        frame["rater_id"] = pd.Series([EVERYONE] * len(frame), dtype=object)
        notes.setdefault(part.rows.name, []).append(f"no column names who judged: all rows are read as those of one rater, {EVERYONE}")
    prefix = prefixes(sorted({path for k in DATA_KINDS for path in request.paths[k]}))[part.rows.name] if request.prefix_raters else ""
    frame["rater_id"] = tidy_ids(frame["rater_id"], prefix if kind in DATA_KINDS else "")
    return replace(part, frame=frame)


def _sourced(kind: str, part: Part) -> dict[str, str]:
    """The part's names with the file's own of the columns that say which model wrote an answer, where they are usual ones."""
    ours = tuple(name for name in part.names if name.startswith("source"))
    if all(part.names[name] == name and name not in part.rows.frame for name in ours):
        for theirs in SOURCES.get(kind, ()):
            if set(theirs) <= set(part.rows.frame.columns):
                return part.names | dict(zip(ours, theirs))
    return part.names


def _listless(cell: object) -> object:
    return str(cell) if isinstance(cell, list | dict) else cell


def check_columns(request: Request) -> None:
    """Raise UserError for a mapping from a name that no kind of file has."""
    known = sorted({n for names in NAMES.values() for n in names} | {f"{k}.{n}" for k in NAMES for n in NAMES[k]})
    for name in request.columns:
        if name not in known:
            raise UserError(
                f"columns: {name!r} is no column of ours{nearest(name, known)}; "
                "map our names to the file's, as in {'completion': 'vote'} or {'ratings.prompt': 'question'}"
            )


def check_mapped(request: Request, parts: dict[str, list[Part]]) -> None:
    """Raise UserError for a column the user named that no file of a kind they gave has."""
    for name, theirs in request.columns.items():
        given = [part for k in parts if name in NAMES[k] or name.startswith(f"{k}.") for part in parts[k]]
        if given and not any(theirs in part.rows.frame or theirs in part.there for part in given):
            raise _missing_mapped(f"columns: {name!r}", theirs, given)
    data = [part for k in DATA_KINDS for part in parts[k]]
    if request.group_column and not any("group" in part.frame for part in data):
        raise _missing_mapped("group_column", request.group_column, data)


def _missing_mapped(what: str, theirs: str, parts: list[Part]) -> UserError:
    there = sorted({str(name) for part in parts for name in part.rows.frame.columns})
    files = ", ".join(part.rows.name for part in parts)
    return UserError(
        f"{what} is {theirs!r}, a column that none of {files} has; there are {', '.join(there)}{nearest(theirs, there)}: correct the name"
    )


def _rename(kind: str, part: Part, request: Request) -> pd.DataFrame:
    """The columns of ours in the file, under our names. Raises UserError when one it needs is missing."""
    rows, names = part.rows, part.names
    required = REQUIRED[kind] if kind in REQUIRED else _comparison_columns(part, request)
    required += ("split",) if request.split and kind in DATA_KINDS else ()
    required += ("within",) if request.within and kind == "ratings" else ()
    there = [str(name) for name in rows.frame.columns]
    missing = [name for name in required if names[name] not in there and not (name == "rater_id" and request.one_rater)]
    if missing:
        listed = ", ".join(n if names[n] == n else f"{names[n]} (our {n})" for n in missing)
        raise UserError(
            f"{rows.name}: no column {listed}; {kind} need {', '.join(required)}, and it has "
            f"{', '.join(there)}{nearest(names[missing[0]], there)}: rename the column, or map it as in "
            f"data.columns={{{missing[0]}: its name there}}{_hint(kind, part, missing, request)}"
        )
    taken = required + tuple(n for n in names if n in OPTIONAL and n not in required)
    return pd.DataFrame({name: rows.frame[names[name]] for name in taken if names[name] in there})


def _hint(kind: str, part: Part, missing: list[str], request: Request) -> str:
    """More to try, where the columns that are there say so."""
    if missing == ["rater_id"]:
        read = f" ({'; '.join(part.rows.notes)})" if part.rows.notes else ""
        return f". Nothing says who judged{read}; to train without raters on such rows: raters.encoding=none"
    return remedy(kind, part.rows.name, part.rows.frame, request.columns)


def _refuse_labels(part: Part, frame: pd.DataFrame, request: Request) -> None:
    """Raise UserError where one of chosen and rejected is a label: nearly only marks such as A or tie, or texts of two other columns."""
    shares = {ours: are_marks(frame[ours]) for ours in ("chosen", "rejected")}
    for ours, other in (("chosen", "rejected"), ("rejected", "chosen")):
        theirs, cells = part.names[ours], frame[ours]
        # Where both are short the answers themselves are A and B, or numbers.
        lengths = [len(str(cell)) for cell in frame[other].dropna()]
        texts = shares[other] <= 0.5 and bool(lengths) and median(lengths) > SHORT
        marks = shares[ours] >= NEARLY and texts
        if not marks and theirs == ours:
            continue
        found = suggest(part.rows.frame, request.columns, label=theirs)
        pair = [found.get(side, side) for side in "ab"] if found else []
        repeats = part.names[other] in pair and looks_like_label(theirs, cells, [part.rows.frame[name] for name in pair])
        if not marks and not repeats:
            continue
        shown = ", ".join(cut(repr(cell)) for cell, _ in Counter(map(str, cells.dropna())).most_common(4))
        remedy = pasted("data.columns", found) if found else f"the two answers' columns as a and b, and {theirs} as label, in data.columns"
        raise UserError(
            f"{part.rows.name}: {ours}{'' if theirs == ours else f' ({theirs})'} holds {shown}, which say which answer is better; chosen "
            f"and rejected are the answers' texts. Map {remedy}"
        )


def _refuse_unpaired(part: Part) -> None:
    """Raise UserError for TRL's unpaired preference: completions beside a label that says which are bad, and not to be imitated."""
    cells = part.rows.frame.get("label", pd.Series([], dtype=object)).dropna()
    if len(cells) and {str(cell).strip().lower() for cell in cells} <= {"true", "false", "1", "0"}:
        mapping = {ours: theirs for ours, theirs in part.names.items() if ours in ("prompt", "rater_id") and theirs != ours}
        mapping |= {"response": part.names["completion"], "rating": "label"}
        raise UserError(
            f"{part.rows.name}: completions beside a label of true and false (TRL's unpaired preference), and imitation would learn the "
            f"bad ones too. Read them as ratings: --ratings {part.rows.name} {pasted('data.columns', mapping)}; or leave out the rows of "
            "bad ones and the column label"
        )


def _comparison_columns(part: Part, request: Request) -> tuple[str, ...]:
    """The columns of the form of comparison the file has: chosen and rejected, or a, b and label."""
    rows, names = part.rows, part.names
    has = {name for name, theirs in names.items() if theirs in rows.frame}
    if {"chosen", "rejected", "a", "b"} <= has:
        raise UserError(f"{rows.name}: chosen and rejected beside a and b; a file has one form: remove two columns")
    if not has & {"chosen", "rejected", "a", "b"}:
        raise UserError(
            f"{rows.name}: no column chosen, rejected or a, b, label; comparisons need prompt, chosen, rejected, rater_id (chosen and "
            "rejected are the texts of the two answers) or prompt, a, b, label, rater_id (label says which is better), and it has "
            f"{', '.join(map(str, rows.frame.columns))}: rename them, or map all of them with data.columns"
            f"{_hint('comparisons', part, ['chosen'], request)}"
        )
    answers = ("a", "b", "label") if has & {"a", "b"} else ("chosen", "rejected")
    return (() if names["prompt"] == IMPLICIT else ("prompt",)) + answers + ("rater_id",)


def _ignored(part: Part) -> list[str]:
    used = {part.names[name] for name in part.frame.columns if name in part.names}
    used |= {name for template in used for name in FIELD.findall(template)}
    return sorted(str(name) for name in set(part.rows.frame.columns) - used)


def _choose(part: Part, split: tuple[str, ...] | None, problems: Problems) -> Part:
    if split is None:
        return part
    problems.check(part.rows, part.frame["split"], "split", split_fault)
    # A row without a split stays, so that it is reported, not passed over.
    return replace(part, frame=part.frame[[value in split or split_fault(value) != "" for value in part.frame["split"]]])
