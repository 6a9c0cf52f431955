"""What is asked of a run, read from texts and files: prompts to answer, completions to score; and the rows that cannot be."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from raterhf.data.checks import Problems, answer_fault, prompt_fault
from raterhf.data.files import Rows, read_rows
from raterhf.errors import UserError

Prompt = str | list[dict]


def read_prompts(texts: list[str], file: Path | None) -> list[Prompt]:
    """The prompts given as text, then those of a file's `prompt` column."""
    for text in texts:
        if fault := prompt_fault(text):
            raise UserError(f"--prompt {text!r} {fault}")
    read, problems = [], Problems()
    if file:
        rows = _with_columns(file, ["prompt"])
        problems.check(rows, rows.frame["prompt"], "prompt", prompt_fault)
        problems.raise_above()
        read = list(rows.frame["prompt"])
    if not texts and not read:
        raise UserError("no prompt; give --prompt TEXT (once or more) or --prompts FILE with a column `prompt`")
    return texts + read


@dataclass
class Completions:
    """Rows of a file to score: number (from 1) -> prompt and completion; and what cannot be scored, number -> why."""

    rows: dict[int, tuple[Prompt, str]]
    rejects: dict[int, str]


def read_completions(file: Path) -> Completions:
    """The rows `prompt, completion` of a file; an assistant's message becomes its text. Bad rows are set apart with the reason."""
    return completions_of(_with_columns(file, ["prompt", "completion"]).frame)


def completions_of(frame: pd.DataFrame, first: int = 1) -> Completions:
    """As `read_completions`, of rows numbered from `first`."""
    found = Completions({}, {})
    for row, (prompt, answer) in enumerate(zip(frame["prompt"], frame["completion"]), start=first):
        faults = (("prompt", prompt_fault(prompt)), ("completion", answer_fault(answer)))
        if why := "; ".join(f"{name} {fault}" for name, fault in faults if fault):
            found.rejects[row] = why
        else:
            found.rows[row] = (prompt, answer[-1]["content"] if isinstance(answer, list) else answer)
    return found


def prompts_of(frame: pd.DataFrame, first: int = 1) -> tuple[dict[int, Prompt], dict[int, str]]:
    """The rows `prompt` that can be asked, numbered from `first`, and why the others cannot."""
    faults = {row: prompt_fault(prompt) for row, prompt in enumerate(frame["prompt"], start=first)}
    asked = {row: prompt for row, prompt in zip(faults, frame["prompt"]) if not faults[row]}
    return asked, {row: f"prompt {fault}" for row, fault in faults.items() if fault}


def rejects_csv(frame: pd.DataFrame, rejects: dict[int, str], first: int = 1) -> str:
    """The rejected rows, numbered from `first`, as CSV in their order: row, reason, and the row's own columns; messages as JSON."""
    numbers = sorted(rejects)
    columns = {"row": numbers, "reason": [rejects[row] for row in numbers]}
    for name in frame:
        cells, own = frame[name].iloc[[row - first for row in numbers]], _writable(str(name))
        while own in columns:  # as in a rejects file that was mended and is scored again
            own += "_before"
        columns[own] = pd.Series([_cell(cell) for cell in cells], dtype=object)
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def _cell(value: object) -> object:
    """As a cell of a CSV file, messages as JSON."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
    return _writable(text) if isinstance(text, str) else text


def _writable(text: str) -> str:
    """Half a character, for which a row may be rejected, by its number: it has no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _with_columns(file: Path, names: list[str]) -> Rows:
    rows = read_rows(file)
    if missing := [name for name in names if name not in rows.frame]:
        raise UserError(f"{file}: no column {', '.join(missing)}; it has {', '.join(map(str, rows.frame.columns))}: add or rename columns")
    return rows
