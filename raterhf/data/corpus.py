"""The corpus of the plain language model: rows of prompt and completion that nobody in particular wrote."""

import pandas as pd

from raterhf.data.checks import Problems, answer_fault, prompt_fault
from raterhf.data.files import read_rows
from raterhf.data.opening import fill_templates
from raterhf.errors import UserError


def read_corpus(path: str, columns: dict[str, str]) -> pd.DataFrame:
    """The rows `prompt, completion` (text, or messages whose last is the answer) of a file.

    `columns` maps our names to the files', or to templates of several; a corpus that has ours is read by them, since the mapping may be
    for the raters' data alone.
    Raises UserError for a missing column and for bad rows, naming the first of each fault.
    """
    rows, problems = read_rows(path), Problems()
    names = {name: name if name in rows.frame else columns.get(name, name) for name in ("prompt", "completion")}
    rows = fill_templates(rows, names.values())
    if missing := [theirs for theirs in names.values() if theirs not in rows.frame]:
        raise UserError(
            f"{path}: column {', '.join(missing)} is missing; a base corpus has prompt and completion (its columns: "
            f"{', '.join(map(str, rows.frame.columns))}): rename them, or map them in data.columns"
        )
    frame = pd.DataFrame({name: rows.frame[theirs] for name, theirs in names.items()})
    problems.check(rows, frame["prompt"], "prompt", prompt_fault)
    problems.check(rows, frame["completion"], "completion", answer_fault)
    problems.raise_above()
    return frame.assign(completion=[c[-1]["content"] if isinstance(c, list) else c for c in frame["completion"]])
