"""The rules a cell of rater-labelled data must keep, and the collector of rows that break them.

A rule is a pure function of one cell: it returns "" or what is wrong and what to do, in words that do not
depend on the value, so that rows with the same fault are reported together. Nothing here changes a cell or
reads a file.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
from pandas.api.types import infer_dtype

from raterhf.data.files import Rows
from raterhf.data.text_files import SHOWN
from raterhf.errors import UserError

Rule = Callable[[Any], str]

ROLES = ("system", "developer", "user", "assistant", "tool")
SPEC_WORDS = ("new", "all", "none")
SPEC_STARTS = ("new:", "persona:")
NO_NAME = ("na", "nan", "null", "none", "<na>")
NO_RATER = "(no valid rater_id)"
_FLOAT = re.compile(r"[+-]?\d+\.\d*([eE][+-]?\d+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Problems:
    """Bad rows of the data files, by file and fault.

    `add` or `check` them, `settle` each file, which leaves them out and counts them per rater in `dropped` (by file), then `raise_above`
    the number of them that is allowed.
    """

    def __init__(self) -> None:
        self.dropped: dict[str, Counter] = {}
        # Keyed by identity, as one file can be read twice, once for each kind of label it holds.
        self._found: dict[int, dict[str, dict[int, str]]] = {}
        self._rows: dict[int, Rows] = {}

    def add(self, rows: Rows, index: int, fault: str, value: Any) -> None:
        self._rows[id(rows)] = rows
        self._found.setdefault(id(rows), {}).setdefault(fault, {})[index] = cut(repr(value))

    def add_all(self, rows: Rows, cells: pd.Series, name: str, faults: dict[int, str]) -> None:
        """Add the faults of a column, by position in `cells`."""
        for place, fault in faults.items():
            self.add(rows, cells.index[place], f"{name} {fault}", cells.iloc[place])

    def check(self, rows: Rows, cells: pd.Series, name: str, rule: Rule) -> None:
        if infer_dtype(cells, skipna=False) == "string":  # a rule for each different text, as there are far fewer IDs and prompts than rows
            faulty = {value: fault for value in pd.unique(cells) if (fault := rule(value))}
            found = [(index, value, faulty[value]) for index, value in zip(cells.index, cells) if value in faulty] if faulty else []
        else:
            found = [(index, value, fault) for index, value in zip(cells.index, cells) if (fault := rule(value))]
        for index, value, fault in found:
            self.add(rows, index, f"{name} {fault}", value)

    def settle(self, rows: Rows, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` without the file's bad rows."""
        bad = frame.index.intersection(self._bad(id(rows)))
        raters = [NO_RATER if rater_fault(value) else str(value) for value in frame.loc[bad, "rater_id"]]
        if raters:
            self.dropped.setdefault(rows.name, Counter()).update(raters)
        return frame.drop(index=bad)

    def raise_above(self, allowed: int = 0, remedy: str = "") -> None:
        """Raise one UserError that names the first five rows of every fault, and how many there are, if more rows are bad than allowed."""
        if sum(len(self._bad(key)) for key in self._found) <= allowed:
            return
        message = []
        for key, faults in self._found.items():
            rows = self._rows[key]
            message.append(f"{rows.name}: {len(self._bad(key))} bad row(s)")
            for fault, cells in faults.items():
                shown = [f"{rows.where(i)} {cells[i]}" for i in sorted(cells)[:SHOWN]]
                more = f" ... and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
                message.append(f"  {fault}: {', '.join(shown)}{more}")
        raise UserError("\n".join(message) + remedy)

    def _bad(self, key: int) -> list[int]:
        return sorted({index for cells in self._found.get(key, {}).values() for index in cells})


def cut(shown: str) -> str:
    return shown if len(shown) <= 60 else shown[:57] + "..."


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_nothing(value: Any) -> bool:
    """A key of a message that is there and says nothing, as exports write them."""
    return is_missing(value) or value in ("", [], {})


def text_fault(value: Any) -> str:
    if is_missing(value):
        return "is missing; every row needs its text: write it or remove the row"
    if not isinstance(value, str):
        return "is not text; write it as a string"
    if not value.strip():
        return "is empty or only white space; every row needs its text: write it or remove the row"
    if not value.isascii() and _SURROGATE.search(value):
        return "holds half of a character (a lone surrogate), which has no UTF-8: write the text again"
    return ""


def messages_fault(value: list) -> str:
    """A conversation: a list of {"role", "content"}, contents are text, other keys null."""
    for message in value:
        if isinstance(message, str):
            return (
                "is a list of texts: several answers, or the turns of a conversation; give one row an answer "
                '(pandas: frame.explode("COLUMN")), or messages with role and content'
            )
        if isinstance(message, dict) and not (_is_nothing(message.get("tool_calls")) and _is_nothing(message.get("function_call"))):
            return "has a message that calls a tool, which is not read; write the call into its content, or remove the row"
        if isinstance(message, dict) and isinstance(message.get("content"), list):
            return "has a content of parts that are not all text (images, files, audio); only text is read: remove them or the row"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"has a message whose role is none of {', '.join(ROLES)}; correct the role"
        if text_fault(message.get("content")):
            return "has a message whose content is not text or is empty; write it or remove the row"
        if more := [str(key) for key, cell in message.items() if key not in ("role", "content") and not _is_nothing(cell)]:
            return (
                f"has a message with more than role and content, all that is read ({', '.join(more)}); remove other keys (pandas: "
                'frame["COLUMN"] = [[{"role": m["role"], "content": m["content"]} for m in cell] for cell in frame["COLUMN"]])'
            )
    return "" if value else "is a conversation without messages; write one or remove the row"


def prompt_fault(value: Any) -> str:
    """Text, or a conversation that waits for the assistant."""
    if not isinstance(value, list):
        return text_fault(value)
    fault = messages_fault(value)
    if not fault and value[-1]["role"] == "assistant":
        return "ends with the assistant's message; that is the answer: move it to the answer's column"
    return fault


def answer_fault(value: Any) -> str:
    """Text, or a list of one assistant message."""
    if not isinstance(value, list):
        return text_fault(value)
    if len(value) != 1 and not any(isinstance(message, str) for message in value):
        return "is not one message; beside a prompt an answer is text or a list of one message: correct it"
    return messages_fault(value) or (
        "is not the assistant's message; an answer has the role assistant: correct it" if value[0]["role"] != "assistant" else ""
    )


def conversation_fault(value: Any) -> str:
    """A whole conversation: a prompt and the assistant's answer (TRL's implicit prompt)."""
    if not isinstance(value, list):
        return "is not a list of messages; without a prompt it is the whole conversation: add a prompt column"
    if len(value) == 1 and isinstance(value[0], dict) and value[0].get("role") == "assistant":
        return "is an answer alone, and no column is the prompt; map the one that is, as in data.columns={prompt: NAME}"
    return messages_fault(value) or (
        "does not end with an assistant's message after others, as a whole conversation does; correct it"
        if len(value) < 2 or value[-1]["role"] != "assistant"
        else ""
    )


def name_fault(value: Any) -> str:
    """The name of a rater, persona or group: text on one line, no white space around it, or an integer."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return "is not a name; names are text or integers: write it as one"
    if isinstance(value, int):
        return ""
    if value != value.strip():
        return "has white space around it, or is nothing else; one name is written in one way: remove it"
    if "\n" in value or "\r" in value:
        return "has a line break; a name is one line: remove it"
    if not value.isascii() and _SURROGATE.search(value):
        return "holds half of a character (a lone surrogate), which has no UTF-8: write the name again"
    return ""


def rater_fault(value: Any) -> str:
    if is_missing(value) or value == "":
        return "is missing; every label names who gave it: write the ID or remove the row"
    if isinstance(value, float) or (isinstance(value, str) and _FLOAT.fullmatch(value)):
        return 'is a decimal number (often integers with a hole among them); write IDs as text or integers (pandas: astype("Int64"))'
    if isinstance(value, str) and (value in SPEC_WORDS or value.startswith(SPEC_STARTS)):
        return f"is a word of the rater grammar ({', '.join(SPEC_WORDS + SPEC_STARTS)}), and could not be asked for; rename the rater"
    if isinstance(value, str) and value.lower() in NO_NAME:
        return "reads as missing, and would make strangers one rater; write the ID or rename the rater"
    return name_fault(value)


def optional_text_fault(value: Any) -> str:
    """Text, or null."""
    return "" if is_missing(value) or isinstance(value, str | int) else "is not text; write it as a string"


def optional_name_fault(value: Any) -> str:
    """As `name_fault`; null, or the empty cell of a CSV file, means none."""
    return "" if is_missing(value) or value == "" else name_fault(value)


def names_a_sitting(value: Any) -> bool:
    """Text, a whole number or a date: what tells one sitting of a rater from another."""
    return isinstance(value, str | int | date) or isinstance(value, float) and value.is_integer()


def sitting_fault(value: Any) -> str:
    return "" if is_missing(value) or names_a_sitting(value) else "is no text, whole number or date; write it as one"


def number(value: Any) -> float | None:
    """The finite number in a cell (CSV holds them as text), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def split_fault(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return ""
    return "is missing or not text, so the row is in no split; fill it or read the file without `split`"


def rater_split_fault(value: Any) -> str:
    return "" if value in ("train", "validate") else "is not train or validate, a rater's split; correct it"
