"""Votes of arenas (LMSYS, Chatbot Arena): two whole conversations, who won, and in some files who judged.

Two shapes are read: `conversation_a`, `conversation_b`, `winner`; and the competition's `prompt`, `response_a`, `response_b` (JSON lists of
turns) with `winner_model_a`, `winner_model_b`, `winner_tie` of 0 and 1. Where conversations part before their last answer, all that follows
was judged: the answer is then the rest of the conversation as one text, its turns marked by User: and Assistant:.
"""

import json

import pandas as pd

from raterhf.data.convert.base import Ask, Converted, column, table
from raterhf.data.files import Rows
from raterhf.data.structure import read_messages

ABOUT = "LMSYS and Chatbot Arena votes: two conversations and a winner"
FLAGS = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}
JUDGES = ("judge", "judge_id", "judge_hash", "user_id", "rater_id", "annotator")


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return {"conversation_a", "conversation_b", "winner"} <= columns or {"response_a", "response_b", *FLAGS} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    frame = rows.frame
    made = Converted({})
    if "winner" in frame:
        pairs = [[read_messages(cell) for cell in frame[name]] for name in ("conversation_a", "conversation_b")]
        label = list(frame["winner"])
    else:
        turns = {name: [_turns(cell) for cell in frame[name]] for name in ("prompt", "response_a", "response_b")}
        pairs = [[_interleave(p, r) for p, r in zip(turns["prompt"], turns[name])] for name in ("response_a", "response_b")]
        label = _from_flags(frame)
    split = [_part(a, b) for a, b in zip(*pairs)]
    columns = {"prompt": [s[0] for s in split], "a": [s[1] for s in split], "b": [s[2] for s in split], "label": label}
    columns |= {f"source_{side}": frame[f"model_{side}"] for side in "ab" if f"model_{side}" in frame}
    judge = column(rows, ask, "rater_id", *JUDGES)
    if judge:
        columns["rater_id"] = frame[judge]
    else:
        session = "evaluation_session_id" if "evaluation_session_id" in frame else ""
        about = f"; {session} is one person's session: data.columns={{rater_id: {session}}}" if session else ""
        made.notes.append(f"no column names the judge: map the one that does, as in data.columns={{rater_id: NAME}}{about}")
    several = sum(s[3] for s in split)
    if several:
        made.notes.append(
            f"{several} of {len(frame)} rows have several turns that differ: the answers are the rest of the conversation as text, "
            "with the "
            "user's later turns in it. They are to be judged, not imitated (sft.source=chosen)"
        )
    made.parts["comparisons"] = table(columns, frame.index)
    sizes = pd.Series(label, dtype=object).value_counts()
    made.notes.append("votes: " + ", ".join(f"{count} {word}" for word, count in sizes.items()))
    return made


def _turns(cell: object) -> list | None:
    """The turns in a cell, a list or its JSON."""
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        found = [cell]  # one turn, as plain text
    return found if isinstance(found, list) else [cell]


def _interleave(asked: list | None, answered: list | None) -> list[dict] | None:
    """A conversation of the user's turns and the answers to them; None where their numbers differ."""
    if asked is None or answered is None or len(asked) != len(answered):
        return None
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for turn in zip(asked, answered) for role, text in zip(roles, turn)]


def _from_flags(frame: pd.DataFrame) -> list[str | None]:
    """The word whose flag alone is 1; None where none or several are."""
    flags = frame[list(FLAGS)].map(lambda cell: str(cell).strip().lower() in ("1", "1.0", "true"))
    words = flags.rename(columns=FLAGS).idxmax(axis=1).where(flags.sum(axis=1) == 1)
    return [word if isinstance(word, str) else None for word in words]


def _part(a: list | None, b: list | None) -> tuple[list | None, str | None, str | None, bool]:
    """What two conversations share, the rest of each as text, and whether a rest is more than an answer. None where there is no such."""
    if not isinstance(a, list) or not isinstance(b, list):
        return None, None, None, False
    same = 0
    while same < min(len(a), len(b)) - 1 and a[same] == b[same]:
        same += 1
    if same and a[same].get("role") != "assistant":  # they part at a question: the answer before it belongs to both
        same -= 1
    return a[:same], _text(a[same:]), _text(b[same:]), len(a) > same + 1 or len(b) > same + 1


def _text(messages: list[dict]) -> str | None:
    contents = [text for message in messages if isinstance(text := message.get("content"), str)]
    if not contents or len(contents) < len(messages):
        return None
    marks = ["", *(f"\n\n{message['role'].capitalize()}: " for message in messages[1:])]
    return "".join(mark + text for mark, text in zip(marks, contents))
