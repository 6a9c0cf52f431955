"""PRISM: people rate one to four answers from 1 to 100 at each turn of a conversation, which goes on from the answer they chose.

Both files are read: `utterances.jsonl` (one row a rated answer) and `conversations.jsonl` (one row a conversation). The prompt is the
conversation up to the answer, so that the "Tell me more" of two conversations is not one prompt; `within` is the interaction.
"""

from typing import Any

import pandas as pd

from raterhf.data.checks import is_missing
from raterhf.data.convert.base import Ask, Converted, table
from raterhf.data.files import Rows

ABOUT = "PRISM: ratings from 1 to 100 at each turn of a conversation (utterances or conversations)"
UTTERANCES = {"conversation_id", "interaction_id", "turn", "user_prompt", "model_response", "score", "if_chosen", "user_id"}


def matches(frame: pd.DataFrame) -> bool:
    columns = set(map(str, frame))
    return columns >= UTTERANCES or {"conversation_id", "conversation_history", "user_id"} <= columns


def convert(rows: Rows, ask: Ask) -> Converted:
    frame = rows.frame if rows.frame.columns.isin(["user_prompt"]).any() else _utterances(rows.frame)
    frame = frame.assign(turn=frame["turn"].map(lambda cell: int(float(cell))))
    made = Converted({})
    prompts = _prompts(frame)
    place = list(zip(frame["conversation_id"], frame["turn"]))
    whole = pd.Series([prompts.get(key) is not None for key in place], index=frame.index)
    made.left_out["ratings whose history is not in the file (no answer of an earlier turn is marked as chosen)"] = int((~whole).sum())
    columns: dict[str, Any] = {"response": frame["model_response"], "rating": frame["score"], "rater_id": frame["user_id"]}
    columns |= {"prompt": [prompts.get(key) for key in place], "within": frame["interaction_id"]}
    columns |= {"source": frame["model_name"]} if "model_name" in frame else {}
    made.parts["ratings"] = table(columns, frame.index)[whole.to_numpy()]
    later = int((frame["turn"] > 0).sum())
    made.notes.append(f"{later} of {len(frame)} ratings are of later turns, and their prompt is the conversation so far")
    return made


def _prompts(frame: pd.DataFrame) -> dict[tuple, list[dict] | None]:
    """(conversation, turn) -> the messages before the answer; None where an earlier turn has no chosen answer."""
    asked = dict(zip(zip(frame["conversation_id"], frame["turn"]), frame["user_prompt"]))
    chosen_rows = frame[frame["if_chosen"].map(_is_true)]
    chosen = dict(zip(zip(chosen_rows["conversation_id"], chosen_rows["turn"]), chosen_rows["model_response"]))
    found: dict[tuple, list[dict] | None] = {}
    for conversation, turn in sorted(asked, key=lambda key: (str(key[0]), key[1])):
        before: list[dict] | None = []
        if turn > 0:
            last = (conversation, turn - 1)
            history, answer = found.get(last), chosen.get(last)
            before = None if history is None or answer is None else [*history, {"role": "assistant", "content": answer}]
        found[conversation, turn] = None if before is None else [*before, {"role": "user", "content": asked[conversation, turn]}]
    return found


def _is_true(cell: object) -> bool:
    return not is_missing(cell) and str(cell).strip().lower() in ("true", "1", "1.0")


def _utterances(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a rated answer, of one row a conversation; the index stays the conversation's."""
    turns = frame[["conversation_id", "user_id", "conversation_history"]].explode("conversation_history")
    said = pd.DataFrame.from_records([cell if isinstance(cell, dict) else {} for cell in turns["conversation_history"]], index=turns.index)
    turns = pd.concat([turns.drop(columns="conversation_history"), said], axis=1)
    asked = turns[turns["role"] == "user"].rename(columns={"content": "user_prompt"})[["conversation_id", "turn", "user_prompt"]]
    answers = turns[turns["role"] == "model"].rename(columns={"content": "model_response"})
    answers = answers.assign(place=answers.index)
    whole = answers.merge(asked, on=["conversation_id", "turn"], how="left").set_index("place")
    whole["interaction_id"] = whole["conversation_id"].astype(str) + "/" + whole["turn"].astype(str)
    return whole
