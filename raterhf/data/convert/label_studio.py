"""Label Studio's JSON export: tasks with `data` and `annotations`, each `completed_by` somebody.

Results of type pairwise (`selected` left or right) and of type choices, where there are two texts, become comparisons; results of type
rating become ratings; textarea results are the reason. Left is the first of two texts.
"""

from typing import Any

import pandas as pd

from raterhf.data.convert.base import Ask, Converted, stack
from raterhf.data.convert.texts import find_texts
from raterhf.data.files import Rows
from raterhf.data.words import read_word
from raterhf.errors import UserError

ABOUT = "Label Studio, JSON export: pairwise, choices, rating and textarea results"
SELECTED = {"left": "a", "right": "b"}


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"data", "annotations"} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    made = Converted({})
    judged: dict[str, list[tuple[int, dict]]] = {"comparisons": [], "ratings": []}
    texts: dict[str, dict[str, str]] = {}
    for place, task in enumerate(rows.frame.to_dict("records")):
        data = task["data"] or {}
        keys = [key for key, value in data.items() if isinstance(value, str | list)]
        for annotation in task["annotations"] or []:
            if annotation.get("was_cancelled"):
                made.left_out["annotations that were skipped (was_cancelled)"] += 1
                continue
            results = annotation.get("result") or []
            found = [pair for result in results if (pair := _judgement(result, made))]
            made.left_out["annotations without a result that is read"] += not found
            reason = "\n".join(
                text for result in results if result.get("type") == "textarea" for text in _list(result["value"].get("text"))
            )
            for kind, name, value in found:
                if kind not in texts:
                    texts[kind] = find_texts(rows.name, keys, ask, alone=kind == "ratings")
                said = {ours: data.get(theirs) for ours, theirs in texts[kind].items()}
                said |= {"label" if kind == "comparisons" else "rating": value, "rater_id": _who(annotation.get("completed_by"))}
                judged[kind].append((place, said | {"reason": reason or None, "control": name}))
    made.notes += [f"{kind}: " + ", ".join(f"{ours} is {theirs}" for ours, theirs in names.items()) for kind, names in texts.items()]
    made.left_out["drafts and predictions, which nobody submitted"] = sum(
        len(_list(task)) for name in ("drafts", "predictions") if name in rows.frame for task in rows.frame[name]
    )
    for kind, records in judged.items():
        controls = {said["control"] for _, said in records}
        for _, said in records:
            control = said.pop("control")
            if len(controls) > 1:
                said["attribute"] = control
        if records:
            made.parts[kind] = stack(records)
    return made


def _judgement(result: dict, made: Converted) -> tuple[str, str, Any] | None:
    """(kind, control's name, label or rating) of one result; None where it is none."""
    value, name = result.get("value") or {}, result.get("from_name", "")
    match result.get("type"):
        case "pairwise":
            return "comparisons", name, SELECTED.get(value.get("selected", ""), value.get("selected"))
        case "rating":
            return "ratings", name, value.get("rating")
        case "number":
            return "ratings", name, value.get("number")
        case "choices":
            choices = _list(value.get("choices"))
            if len(choices) > 1:
                made.left_out["results with several choices"] += 1
                return None
            word = str(choices[0]).strip().casefold() if choices else ""
            if word in SELECTED or read_word(word) is not None:
                return "comparisons", name, SELECTED.get(word, word)
            raise UserError(
                f"choice {word!r} of {name or 'a Choices control'} names neither answer; read are left, right, a, b, tie and the "
                "like: rename the "
                "choices in the export, or use a Pairwise control"
            )
        case "textarea":
            return None
        case other:
            made.left_out[f"results of type {other}, which is not read"] += 1
            return None


def _who(completed_by: Any) -> Any:
    """The ID or address of who annotated; Label Studio gives a number, or an object with both."""
    return completed_by.get("email") or completed_by.get("id") if isinstance(completed_by, dict) else completed_by


def _list(value: Any) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]
