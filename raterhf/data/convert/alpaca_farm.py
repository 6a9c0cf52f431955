"""AlpacaFarm and AlpacaEval: an instruction with or without an input, two outputs, and a preference of 1 (the first) or 2 (the second)."""

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
        "label": [WORDS.get(value, cell) if (value := number(cell)) is not None else cell for cell in frame["preference"]],
    }
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
