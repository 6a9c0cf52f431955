"""doccano's JSONL export: one file for each annotator, named after them, with `text`, `label` and what was uploaded beside the text.

Labels that are one number rate the text; labels that name one of two answers that were uploaded beside it compare them. The rater is the
file's name: a project whose annotators share their labels exports one file, `all.jsonl`, in which nobody is named.
"""

from pathlib import Path

import pandas as pd

from raterhf.data.checks import number
from raterhf.data.convert.base import Ask, Converted, column, stack
from raterhf.data.convert.texts import find_texts
from raterhf.data.files import Rows
from raterhf.data.words import read_word
from raterhf.errors import UserError

ABOUT = "doccano, JSONL: one file an annotator; labels that are numbers, or name one of two answers"
NOBODY = ("all", "unknown", "admin_all")


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"id", "text", "label", "Comments"} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    made = Converted({})
    who = column(rows, ask, "rater_id", "annotator", "user", "username")
    name = Path(rows.name).stem
    if who is None and name in NOBODY:
        raise UserError(
            f"{rows.name}: doccano names this file {name} where annotators share their labels, and it does not say who gave which; "
            "export a "
            "project without collaborative annotation (one file a person), or map rater_id"
        )
    around = ("id", "label", "Comments", who)
    keys = [key for key in map(str, rows.frame) if key not in around and any(isinstance(c, str | list) for c in rows.frame[key])]
    records: dict[str, list[tuple[int, dict]]] = {"comparisons": [], "ratings": []}
    texts: dict[str, dict[str, str]] = {}
    for place, row in enumerate(rows.frame.to_dict("records")):
        labels = row["label"] if isinstance(row["label"], list) else [row["label"]]
        if len(labels) != 1 or labels[0] is None:
            made.left_out["rows with no label, or several"] += 1
            continue
        kind = "ratings" if number(labels[0]) is not None else "comparisons"
        if kind == "comparisons" and read_word(str(labels[0]).casefold()) is None and str(labels[0]).casefold() not in ("left", "right"):
            raise UserError(
                f"{rows.name}: {rows.where(place)}: label {labels[0]!r} is neither a number nor names an answer (a, b, left, right, "
                "tie); read are "
                "ratings and choices between two answers: for others write rows of our columns"
            )
        if kind not in texts:
            texts[kind] = find_texts(rows.name, keys, ask, alone=kind == "ratings")
        said = {ours: row.get(theirs) for ours, theirs in texts[kind].items()} | {"rater_id": row[who] if who else name}
        reason = "\n".join(str(text) for text in row.get("Comments") or []) or None
        label = {"left": "a", "right": "b"}.get(str(labels[0]).casefold(), labels[0])
        records[kind].append((place, said | {"label" if kind == "comparisons" else "rating": label, "reason": reason}))
    made.parts = {kind: stack(found) for kind, found in records.items() if found}
    made.notes += [f"{kind}: " + ", ".join(f"{ours} is {theirs}" for ours, theirs in found.items()) for kind, found in texts.items()]
    if who is None:
        made.notes.append(f"the rater is the file's name, {name}")
    return made
