"""AlpacaFarm and AlpacaEval: an instruction with or without an input, two outputs, and a preference of 1 (the first) or 2 (the second).

0 and 1.5 are ties. A number between 1 and 2 is AlpacaEval 2's, 1 and the probability of the second: its side is read, and how far it is
from 1.5 is the strength.
"""

import pandas as pd

from raterhf.data.checks import number
from raterhf.data.convert.base import Ask, Converted, column, table
from raterhf.data.files import Rows

ABOUT = "AlpacaFarm and AlpacaEval: preference 1 is output_1, 2 is output_2"
WORDS = {1: "a", 2: "b", 1.5: "tie", 0: "tie"}


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"instruction", "output_1", "output_2", "preference"} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    frame, made = rows.frame, Converted({})
    given = frame["input"] if "input" in frame else [None] * len(frame)
    columns = {
        "prompt": [
            f"{asked}\n\n{more}" if isinstance(more, str) and more.strip() else asked for asked, more in zip(frame["instruction"], given)
        ],
        "a": frame["output_1"],
        "b": frame["output_2"],
        "label": [_label(cell) for cell in frame["preference"]],
    }
    if weighted := sum(_between(cell) for cell in frame["preference"]):
        columns["strength"] = [abs(float(cell) - 1.5) if _between(cell) else None for cell in frame["preference"]]
        made.notes.append(
            f"{weighted} of {len(frame)} preferences lie between 1 and 2: the nearer side, and the distance to 1.5 as strength"
        )
    columns |= {ours: frame[theirs] for ours, theirs in (("source_a", "generator_1"), ("source_b", "generator_2")) if theirs in frame}
    judge = column(rows, ask, "rater_id", "annotator", "annotator_index", "annotator_id", "worker_id", "rater_id")
    if judge:
        columns["rater_id"] = frame[judge]
    else:
        made.notes.append("no column names who judged: map the one that does, as in data.columns={rater_id: NAME}")
    if "raw_preference" in frame:
        made.notes.append("raw_preference is not kept: its steps differ between files")
    made.parts["comparisons"] = table(columns, frame.index)
    return made


def _label(cell: object) -> object:
    value = number(cell)
    if value is None:
        return cell
    return ("a" if value < 1.5 else "b") if _between(cell) else WORDS.get(value, cell)


def _between(cell: object) -> bool:
    value = number(cell)
    return value is not None and 1 < value < 2 and value != 1.5
