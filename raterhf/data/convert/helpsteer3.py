"""HelpSteer3's preferences: two responses to a context, and up to three people's scores.

A score goes from -3 (the first response is much better) to 3 (the second is).

The people have no IDs in the published data: a rater is then a place in the list of scores, which several people shared.
"""

import pandas as pd

from raterhf.data.checks import number
from raterhf.data.convert.base import Ask, Converted, column, stack
from raterhf.data.files import Rows

WHO = ("annotator_id", "annotator", "worker_id", "user_id", "rater_id")
ABOUT = "HelpSteer3 preferences: scores from -3 to 3, minus for response1, several people a row"


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"context", "response1", "response2"} <= columns and bool({"individual_preference", "overall_preference"} & columns)


def convert(rows: Rows, ask: Ask) -> Converted:
    """One row a person; with no list of people one row for the overall score, without a rater."""
    made = Converted({})
    records = []
    people = "individual_preference" in rows.frame
    judge = None if people else column(rows, ask, "rater_id", *WHO)
    unnamed = 0
    for place, row in enumerate(rows.frame.to_dict("records")):
        pair = {"prompt": row["context"], "a": row["response1"], "b": row["response2"]}
        if not people:
            records.append((place, pair | _scored(row["overall_preference"]) | ({"rater_id": row[judge]} if judge else {})))
            continue
        scores = row["individual_preference"] or []
        made.left_out["rows without any person's score"] += not scores
        for number_, one in enumerate(scores, start=1):
            who = next((one[name] for name in WHO if one.get(name) not in (None, "")), None)
            unnamed += who is None
            said = {"rater_id": f"annotator {number_}" if who is None else who, "reason": one.get("reasoning") or None}
            records.append((place, pair | _scored(one.get("score")) | said))
    made.parts["comparisons"] = stack(records)
    if people and unnamed:
        made.notes.append(
            "the data do not say who annotated: rater_id is the place in a row's list (annotator 1, 2, 3), which many people share, "
            "so that "
            "their taste cannot be learned from it; feedback1, feedback2 and overall_preference are not kept"
        )
    elif not people and judge is None:
        made.notes.append("no column names who judged: overall_preference is what several people said together")
    return made


def _scored(score: object) -> dict:
    """Minus is for the first response; the size is the strength."""
    value = number(score)
    if value is None or not -3 <= value <= 3:
        return {"label": None, "strength": None}
    return {"label": "tie", "strength": None} if value == 0 else {"label": "a" if value < 0 else "b", "strength": abs(value)}
