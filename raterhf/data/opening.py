"""One file opened: a tool's export converted, templates and constants filled in, lists spread over rows, texts that are conversations read.

What was done that is not plain stands in the notes of the rows, or of the file. Nothing is renamed here.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from raterhf.data import convert, structure
from raterhf.data.checks import is_missing
from raterhf.data.files import Rows, read_rows
from raterhf.data.schema import DATA_KINDS, IMPLICIT, REQUIRED, Part, Request
from raterhf.data.structure import parse_lists
from raterhf.errors import UserError

FIELD = re.compile(r"\{([^{}]+)\}")
_SENTENCE = re.compile(r"\S+\s.*\S|.*[.?!:]", re.DOTALL)


def open_part(kind: str, path: str, request: Request, notes: dict) -> Part:
    """A file's rows as they stand in it, or as made of a tool's export; no frame yet."""
    rows, names = read_rows(path), request.names(kind)
    made, there = None, frozenset(map(str, rows.frame))
    if kind in DATA_KINDS and (request.preset or not _complete(kind, rows, names)):
        tool = request.preset or convert.recognise(rows.frame)
        made = convert.convert_rows(rows, tool, request.columns, kind) if tool else None
    if made is not None:
        rows, names = made, {name: name for name in names} | ({"group": names["group"]} if "group" in names else {})
    elif kind in DATA_KINDS and (tool := convert.recognise(rows.frame)):
        rows = replace(rows, notes=(*rows.notes, f"the columns are those of {tool}; they are read as data.columns says, not as {tool}'s"))
    rows = fill_templates(rows, names.values())
    if kind in DATA_KINDS:
        rows = _explode(kind, rows, names)
        rows, said = structure.read_structure(rows, names)
        rows = replace(rows, notes=(*rows.notes, *said))
    if rows.notes:
        notes[rows.name] = list(rows.notes)
    return Part(rows, pd.DataFrame(), names, there)


def _complete(kind: str, rows: Rows, names: dict[str, str]) -> bool:
    """Whether the file has the columns of the kind, the prompt and the rater apart, under our names or as they are mapped."""
    has = {name for name, theirs in names.items() if theirs in rows.frame}
    if kind == "comparisons":
        return {"chosen", "rejected"} <= has or {"a", "b", "label"} <= has
    return set(REQUIRED[kind]) - {"prompt", "rater_id"} <= has


def _explode(kind: str, rows: Rows, names: dict[str, str]) -> Rows:
    """Rows whose responses and ratings, or raters and what they said, are lists of one length, as one row a response or a rater."""
    said = {"ratings": "rating", "comparisons": "label"}.get(kind)
    if said is None:
        return rows
    columns = [names[n] for n in ("response", said, "rater_id", "reason", "source", "attribute", "strength") if n in names]
    parsed = parse_lists(rows, columns)
    lists = [name for name in columns if _is_list(parsed, name)]
    if names[said] not in lists or not {names.get("response"), names["rater_id"]} & set(lists):
        return rows
    rows = parsed
    lengths = rows.frame[lists].map(lambda cell: len(cell) if isinstance(cell, list) else -1)
    if len(odd := lengths.index[(lengths.nunique(axis=1) > 1) | (lengths.min(axis=1) < 1)]):
        sizes = ", ".join(f"{name} {size}" for name, size in lengths.loc[odd[0]].items())
        raise UserError(
            f"{rows.name}: {rows.where(odd[0])}: the lists of one row have different lengths, or none ({sizes}); correct it, or give one "
            "row a response or a rater"
        )
    frame = rows.frame.explode(lists)
    origin = frame.index.tolist() if rows.origin is None else [rows.origin[i] for i in frame.index]
    each = "response" if names.get("response") in lists else "rater"
    note = f"{', '.join(lists)} are lists: one row a {each}, {len(frame)} of {len(rows.frame)} rows"
    return replace(rows, frame=frame.reset_index(drop=True).astype(object), origin=origin, notes=(*rows.notes, note))


def _is_list(rows: Rows, name: str) -> bool:
    if name not in rows.frame:
        return False
    first = next((cell for cell in rows.frame[name] if cell is not None), None)
    return isinstance(first, list) and not any(isinstance(item, dict) for item in first)


def fill_constant(kind: str, part: Part, files: list[Part], notes: dict) -> Part:
    """The part with its prompt, where that is mapped to a sentence that is a column of no file of the kind."""
    text = part.names["prompt"]
    there = [str(name) for one in files for name in one.rows.frame.columns]
    if text in there or not _SENTENCE.fullmatch(text) or difflib.get_close_matches(text, there, n=1, cutoff=0.8):
        return part
    notes.setdefault(part.rows.name, []).append(f"the prompt of every row is {text!r}, which is no column")
    return replace(
        part, rows=replace(part.rows, frame=part.rows.frame.assign(**{text: pd.Series([text] * len(part.rows.frame), dtype=object)}))
    )


def read_implicit(part: Part, notes: dict) -> Part:
    """TRL's implicit prompt: both answers are whole conversations, or whole texts that begin alike. Then the prompt's name is `IMPLICIT`.

    As in TRL a prompt that is text beside whole conversations is passed over. TRL's `margin` is our `strength`.
    """
    rows, names = part.rows, dict(part.names)
    pair = next((p for p in (("chosen", "rejected"), ("a", "b")) if all(names[n] in rows.frame for n in p)), None)
    if names["strength"] not in rows.frame and "margin" in rows.frame:
        names["strength"] = "margin"
    if pair is None:
        return replace(part, names=names)
    cells = [rows.frame[names[n]] for n in pair]
    first = next((cell for cell in rows.frame[names["prompt"]] if cell is not None), "") if names["prompt"] in rows.frame else None
    answers = [cell for side in cells for cell in side]
    if first is None:
        whole = any(isinstance(cell, list) for cell in answers)
    else:
        whole = all(isinstance(cell, list) and len(cell) > 1 for cell in answers)
    if whole and (not isinstance(first, list) or _begin_with(rows.frame[names["prompt"]], cells)):
        if first is not None:
            why = " that begin with it" if isinstance(first, list) else ""
            notes.setdefault(rows.name, []).append(f"{names['prompt']} is not read: {pair[0]} and {pair[1]} are whole conversations{why}")
        return replace(part, names=names | {"prompt": IMPLICIT})
    if first is not None:
        return replace(part, names=names)
    if all(map(structure.is_transcript, cells)):
        made = {names[n]: pd.Series(map(structure.read_transcript, side), dtype=object) for n, side in zip(pair, cells)}
        notes.setdefault(rows.name, []).append(
            f"{pair[0]} and {pair[1]} are read as conversations: texts in turns of Human: and Assistant:"
        )
        return replace(part, rows=replace(rows, frame=rows.frame.assign(**made)), names=names | {"prompt": IMPLICIT})
    others = set(rows.frame.columns) - set(names.values())
    if not others and all(isinstance(cell, str) for side in cells for cell in side):
        notes.setdefault(rows.name, []).append(f"no prompt: it is what {pair[0]} and {pair[1]} have in common at their beginning")
        return replace(part, names=names | {"prompt": IMPLICIT})
    return replace(part, names=names)


def _begin_with(prompts: pd.Series, answers: list[pd.Series]) -> bool:
    """Whether all conversations are the messages of their row's prompt and one more."""
    return all(isinstance(prompt, list) and answer[:-1] == prompt for side in answers for prompt, answer in zip(prompts, side))


def fill_templates(rows: Rows, names: Iterable[str]) -> Rows:
    """The rows with a column more for each of `names` that is a template, under that name.

    A cell is None where one it is made of is missing, so that the row is reported like any without its text. Raises UserError where
    the file lacks a column that a template names.
    """
    made: dict[str, list] = {}
    for template in names:
        used = FIELD.findall(template)
        missing = [name for name in used if name not in rows.frame]
        if missing:
            there = [str(name) for name in rows.frame.columns]
            raise UserError(
                f"{rows.name}: no column {missing[0]}, which the template {template!r} names; it has {', '.join(there)}"
                f"{nearest(missing[0], there)}: correct the template, or give it for one kind of file as in "
                "{'demonstrations.prompt': ...}"
            )
        if used:
            cells = zip(*(rows.frame[name] for name in used))
            made[template] = [None if any(map(is_missing, row)) else _fill(template, row) for row in cells]
    return replace(rows, frame=rows.frame.assign(**made).astype(dict.fromkeys(made, object))) if made else rows


def _fill(template: str, cells: tuple) -> str:
    """The template with its fields replaced in order."""
    values = iter(cells)
    return FIELD.sub(lambda _: str(next(values)), template)


def nearest(name: str, there: list[str]) -> str:
    """The name that is nearest, in brackets for an error; "" where none is near."""
    folded = {value.lower(): value for value in there}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f" (nearest: {folded[close[0]]})" if close else ""
