"""Prodigy's `db-out`: one JSON object a line, with `options` that were shown and the IDs that somebody chose in `accept`.

A chosen option is preferred to each that was shown and not chosen. Rows whose answer is ignore or reject, and rows with nothing chosen, are
left out. Who answered is `_annotator_id`, else `_session_id`.
"""

import pandas as pd

from raterhf.data.convert.base import Ask, Converted, column, need, stack
from raterhf.data.files import Rows
from raterhf.data.words import read_word
from raterhf.errors import UserError

ABOUT = "Prodigy, db-out: options and what was accepted (view choice)"


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"options", "accept", "answer"} <= columns or {"_task_hash", "_view_id"} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    views = {str(cell) for cell in rows.frame.get("_view_id", []) if cell is not None} - {"choice"}
    if not {"options", "accept"} <= set(rows.frame.columns):
        raise UserError(
            f"{rows.name}: no options and accept ({', '.join(sorted(views)) or 'no view'}); read is what the view choice gives, where each "
            "option is an answer: for other views write rows of prompt, chosen, rejected, rater_id"
        )
    made = Converted({})
    prompt = need(rows, ask, "prompt", "prompt", "question", "instruction", "text", "input")
    who = column(rows, ask, "rater_id", "_annotator_id", "_session_id")
    records = []
    for place, row in enumerate(rows.frame.to_dict("records")):
        if row.get("answer") not in (None, "accept"):
            made.left_out[f"rows answered {row['answer']}"] += 1
            continue
        shown = {option["id"]: option.get("text") for option in row["options"] or [] if not _is_tie(option["id"])}
        chosen = row["accept"] or []
        about = {"prompt": row[prompt]} | ({"rater_id": row[who]} if who else {})
        if len(chosen) == 1 and _is_tie(chosen[0]) and len(shown) == 2:  # an option that says tie
            records.append((place, about | dict(zip("ab", shown.values())) | {"label": "tie"}))
            continue
        pairs = [(one, two) for one in shown if one in chosen for two in shown if two not in chosen]
        made.left_out["rows with nothing, or everything, chosen"] += not pairs
        ids = list(shown)
        for one, two in pairs:
            first, second = sorted((one, two), key=ids.index)
            record = about | {"a": shown[first], "b": shown[second], "label": "a" if first == one else "b"}
            records.append((place, record | {"reason": row.get("reason")} if "reason" in row else record))
    if not who:
        made.notes.append("no _annotator_id or _session_id says who answered")
    if records:
        made.parts["comparisons"] = stack(records)
    return made


def _is_tie(name: object) -> bool:
    word = read_word(str(name).casefold())
    return word is not None and word.label == 0
