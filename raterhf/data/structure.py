"""Texts that are really structure, brought into the one form that `checks.py` knows: a list of {"role", "content"}.

Read are JSON, Python or numpy text of messages in cells, ShareGPT's `from` and `value`, roles by other usual names, one message that is not
in a list, and contents in parts of which all are text. What is none of these stays as it is, for the rules to refuse it by row. A column is
text of messages only if all its cells are; some among plain texts are left alone.
"""

import ast
import io
import json
import re
import token
import tokenize
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd
from pandas.api.types import infer_dtype

from raterhf.data.files import Rows

ANSWERS = ("chosen", "rejected", "a", "b", "response", "completion")
TEXTS = ("prompt", *ANSWERS)
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatbot": "assistant", "model": "assistant", "ai": "assistant"}
"""Other usual names of roles, in small letters."""
TEXT_PARTS = ("text", "input_text", "output_text", None)
"""Types of parts that are text; None: a part without a type."""
_NO_COMMA = re.compile(r"""[}\]'"\d.]\s+[{\['"\d+-]""")
_MESSAGES = re.compile(r"""["\s]*\[\s*\{\s*\\?["'](role|from|content|value)\\?["']""")
_TRANSCRIPT = re.compile(r"\s*(Human|Assistant):")


def read_structure(rows: Rows, names: dict[str, str]) -> tuple[Rows, list[str]]:
    """The rows with messages in the text columns of ours (our name -> the file's) in one form, and notes of what was read so."""
    notes, made, lists = [], {}, {}
    for ours, theirs in names.items():
        if ours not in TEXTS or theirs not in rows.frame:
            continue
        cells = rows.frame[theirs]
        parsed = _from_text(cells)
        if parsed is not None and all(_holds_messages(cell) for cell in parsed.dropna()):
            cells = parsed
            notes.append(f"{theirs}: JSON text in the cells is read as messages")
        elif parsed is not None and all(_is_texts(cell) for cell in parsed.dropna()):
            lists[theirs] = parsed
        made[theirs] = pd.Series([read_messages(cell) for cell in cells], dtype=object) if _has_lists(cells) else cells
    notes += _texts_of_lists({names[ours] for ours in ANSWERS if ours in names} & set(rows.frame), lists, made)
    frame = rows.frame.assign(**made)
    return replace(rows, frame=frame), notes


def _texts_of_lists(answers: set[str], lists: dict[str, pd.Series], made: dict[str, pd.Series]) -> list[str]:
    """Columns whose every cell is a list of texts written as text: lists, to be refused, where all answers are; else text, and noted."""
    if lists and answers <= set(lists):
        made.update(lists)
        return []
    return [
        f"{theirs}: all {len(cells)} cells are a list turned into text, such as {made[theirs].iloc[0]!r}, and other answers are not: "
        "whoever reads the brackets knows the label; write the texts themselves"
        for theirs, cells in lists.items()
        if theirs in answers
    ]


def parse_lists(rows: Rows, names: Iterable[str]) -> Rows:
    """The rows with those of the columns parsed whose cells are all text of lists."""
    found = {name: cells for name in names if name in rows.frame and (cells := _from_text(rows.frame[name])) is not None}
    lists = {name: cells for name, cells in found.items() if all(isinstance(cell, list) for cell in cells.dropna())}
    return replace(rows, frame=rows.frame.assign(**lists)) if lists else rows


def parse_cells(rows: Rows) -> Rows:
    """The rows with every column parsed whose cells are all JSON or Python text of lists and objects."""
    parsed = {str(name): cells for name in rows.frame if (cells := _from_text(rows.frame[name])) is not None}
    return replace(rows, frame=rows.frame.assign(**parsed)) if parsed else rows


def is_transcript(cells: pd.Series) -> bool:
    """Whether every cell is a conversation written as text, in turns that begin with Human: and Assistant:."""
    return all(isinstance(cell, str) and _TRANSCRIPT.match(cell) and "\n\nAssistant:" in cell for cell in cells)


def read_transcript(text: str) -> list[dict]:
    """The turns of such a text as messages."""
    parts = re.split(r"(?:^|\n\n)\s*(Human|Assistant):", text)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[role], "content": said.strip()} for role, said in zip(parts[1::2], parts[2::2])]


def _has_lists(cells: pd.Series) -> bool:
    return infer_dtype(cells) != "string" and any(isinstance(cell, list | dict) for cell in cells)


def _from_text(cells: pd.Series) -> pd.Series | None:
    """The cells parsed, where all that are there are text of a list or an object; else None."""
    there = cells.dropna()
    if there.empty or not _may_be(there.iloc[0]):
        return None
    parsed = []
    for cell in cells:
        value = None if cell is None else _parse(cell)
        if value is None and cell is not None:
            return None
        parsed.append(value)
    return pd.Series(parsed, dtype=object, index=cells.index)


def _may_be(cell: Any) -> bool:
    return isinstance(cell, str) and re.match(r"""\s*("\s*)?[\[{]""", cell) is not None


def _parse(cell: Any) -> list | dict | None:
    if not _may_be(cell):
        return None
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        try:  # as pandas writes lists into CSV
            value = ast.literal_eval(_with_commas(cell.strip()))
        except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
            return None
    if isinstance(value, str):  # JSON that was written as JSON once more
        return _parse(value)
    return value if isinstance(value, list | dict) else None


def _with_commas(text: str) -> str:
    """What numpy writes of a list, which has no commas, as Python writes it; without them two texts would be read as one."""
    if not _NO_COMMA.search(text):
        return text
    ends, written = False, []
    skipped = (token.NL, token.NEWLINE, token.INDENT, token.DEDENT, token.ENDMARKER)
    for one in tokenize.generate_tokens(io.StringIO(text).readline):
        if one.type in skipped:
            continue
        if ends and (one.type != token.OP or one.string in "[{(+-"):
            written.append(",")
        ends = one.type != token.OP or one.string in "]})"
        written.append(one.string)
    return " ".join(written)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and any(names <= value.keys() for names in ({"role", "content"}, {"from", "value"}, {"role", "parts"}))


def _holds_messages(value: Any) -> bool:
    return _is_message(value) or (isinstance(value, list) and bool(value) and all(map(_is_message, value)))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(cell is None or isinstance(cell, str) for cell in value)


def stray_messages(cells: pd.Series) -> int:
    """Cells of text that begin as JSON text of messages does."""
    return sum(isinstance(cell, str) and _MESSAGES.match(cell) is not None for cell in cells)


def read_messages(cell: Any) -> Any:
    """A conversation in one form; anything else as it is."""
    if isinstance(cell, dict) and _is_message(cell):
        cell = [cell]
    if not isinstance(cell, list) or not all(map(_is_message, cell)):
        return cell
    return [_message(message) for message in cell]


def _message(message: dict) -> dict:
    if message.keys() == {"role", "content"} and isinstance(message["content"], str) and message["role"] in ("user", "assistant"):
        return message
    said, text = ("role", "content" if "content" in message else "parts") if "role" in message else ("from", "value")
    role, content = message[said], message[text]
    if isinstance(content, list) and content and all(map(_is_text_part, content)):
        content = "".join(part["text"] for part in content)
    if isinstance(role, str):
        role = ROLES.get(role.strip().lower(), role.strip().lower())
    return {"role": role, "content": content} | {key: value for key, value in message.items() if key not in (said, text)}


def _is_text_part(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("type") not in TEXT_PARTS or not isinstance(part.get("text"), str):
        return False
    return all(value is None or value == [] for key, value in part.items() if key not in ("type", "text"))
