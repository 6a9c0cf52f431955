"""MultiPref: two completions, and what ordinary workers and experts said of them, overall and of single attributes."""

from typing import Any

import pandas as pd

from raterhf.data.convert.base import Ask, Converted, stack
from raterhf.data.files import Rows

ABOUT = "MultiPref: preferences of ordinary and expert workers in five steps, overall or by attribute"
WORKERS = {"normal_worker_annotations": "normal", "expert_worker_annotations": "expert"}
ATTRIBUTES = ("overall", "helpful", "truthful", "harmless")
MEANINGS = {
    "A-is-clearly-better": ("a", 2),
    "A-is-slightly-better": ("a", 1),
    "Tie": ("tie", None),
    "B-is-slightly-better": ("b", 1),
    "B-is-clearly-better": ("b", 2),
}


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"completion_a", "completion_b"} <= columns and bool(columns & set(WORKERS))


def convert(rows: Rows, ask: Ask) -> Converted:
    """One row a person and pair; with `ask.attributes` one more for each attribute that the person judged."""
    made = Converted({})
    records = []
    wanted = ATTRIBUTES if ask.attributes else ATTRIBUTES[:1]
    prompt = "text" if "text" in rows.frame else "prompt"
    for place, row in enumerate(rows.frame.to_dict("records")):
        pair = {"prompt": row.get(prompt), "a": row["completion_a"], "b": row["completion_b"]}
        pair |= {f"source_{side}": row[f"model_{side}"] for side in "ab" if f"model_{side}" in row}
        for column, group in WORKERS.items():
            for one in row.get(column) or []:
                for attribute in wanted:
                    said = one.get(f"{attribute}_pref")
                    if not said:
                        made.left_out[f"annotations without {attribute}_pref"] += 1
                        continue
                    label, strength = MEANINGS.get(said, (said, None))
                    reasons = [one.get(f"{attribute}_own_reason"), *(one.get(f"{attribute}_checked_reasons") or [])]
                    record = pair | {"label": label, "strength": strength, "rater_id": one.get("evaluator"), "group": group}
                    record |= {"attribute": attribute} if ask.attributes else {}
                    records.append((place, record | {"reason": "; ".join(filter(None, reasons)) or None}))
    groups: dict[Any, set[str]] = {}
    for _, record in records:
        groups.setdefault(record["rater_id"], set()).add(record["group"])
    if both := [name for name, found in groups.items() if len(found) > 1]:
        made.notes.append(f"{len(both)} evaluators are both ordinary workers and experts ({both[0]} and others): they are one rater each")
    made.parts["comparisons"] = stack(records)
    made.notes.append("slightly better is strength 1, clearly better 2; `group` is normal or expert (data.group_column=group)")
    if not ask.attributes:
        made.notes.append("only overall_pref is kept; --attributes keeps helpful, truthful and harmless too, in a column attribute")
    return made
