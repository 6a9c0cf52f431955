"""Argilla's records as a dataset: fields beside, for each question, parallel lists of responses, users and statuses.

Read are both shapes: version 2 (`QUESTION.responses`, `.responses.users`, `.responses.status`) and version 1 (`QUESTION` as a list of
`user_id`, `value`, `status`; so does version 2's JSON, without the status). Only submitted responses are labels; drafts, discarded and
suggested ones are counted and left out.
Numbers are ratings of the one response; names of fields, or words such as a and tie, compare two; a ranking compares
every two that it ranks: names in their order, or with a `rank`.
"""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd

from raterhf.data.checks import number
from raterhf.data.convert.base import Ask, Converted, stack
from raterhf.data.convert.texts import PROMPTS, find_texts
from raterhf.data.files import Rows
from raterhf.data.words import read_word

ABOUT = "Argilla records (versions 1 and 2): parallel lists of responses, users and statuses"
REASONS = ("reason", "rationale", "explanation", "comment", "feedback", "why")
_AROUND = ("id", "_server_id", "status", "external_id", "metadata", "vectors", "inserted_at", "updated_at")


def matches(frame: pd.DataFrame) -> bool:
    flat = any(str(name).endswith(".responses.users") for name in frame) or any(_is_earlier(frame[name]) for name in frame)
    return flat or {"fields", "responses", "suggestions"} <= set(frame)


def convert(rows: Rows, ask: Ask) -> Converted:
    made = Converted({})
    if {"fields", "responses"} <= set(rows.frame):
        rows = _flat(rows)
        said = [one for name in _questions(rows) for cell in rows.frame[name] for one in cell or []]
        if not any("status" in one for one in said):
            made.notes.append(
                "these records do not say which responses are drafts or discarded, as to_json writes them: all are taken; to leave those "
                "out export with to_datasets()"
            )
    questions = _questions(rows)
    records: dict[str, list[tuple[int, dict]]] = {"comparisons": [], "ratings": []}
    fields = [n for n in map(str, rows.frame) if n not in _AROUND and not any(n == q or n.startswith(f"{q}.") for q in questions)]
    fields = [n for n in fields if any(isinstance(cell, str | list) for cell in rows.frame[n])]
    several = len([q for q in questions if not any(word in q.lower() for word in REASONS)]) > 1
    texts: dict[str, dict[str, str]] = {}
    for place, row in enumerate(rows.frame.to_dict("records")):
        answers = {question: _submitted(question, row, made) for question in questions}
        reasons = {user: value for q, said in answers.items() for user, value in said if any(word in q.lower() for word in REASONS)}
        for question, said in answers.items():
            if any(word in question.lower() for word in REASONS):
                continue
            extra = {"attribute": question} if several else {}
            for user, value in said:
                about = extra | {"rater_id": user, "reason": reasons.get(user)}
                if isinstance(value, list):
                    prompt = next((n for n in [ask.columns.get("prompt"), *PROMPTS] if n in fields), None)
                    ranked = _ranked(value, row)
                    pairs = [{"a": x, "b": y, "label": _ahead(i, j)} for (x, i), (y, j) in combinations(ranked, 2)]
                    records["comparisons"] += [(place, pair | about | {"prompt": row.get(prompt or "")}) for pair in pairs]
                    continue
                kind = "ratings" if number(value) is not None else "comparisons"
                if kind not in texts:
                    texts[kind] = find_texts(rows.name, fields, ask, alone=kind == "ratings")
                shown = {ours: row.get(theirs) for ours, theirs in texts[kind].items()}
                label = {"rating": value} if kind == "ratings" else {"label": _label(value, texts[kind])}
                records[kind].append((place, shown | label | about))
    made.parts = {kind: stack(found) for kind, found in records.items() if found}
    made.notes += [f"{kind}: " + ", ".join(f"{ours} is {theirs}" for ours, theirs in names.items()) for kind, names in texts.items()]
    if suggested := [str(n) for n in rows.frame if str(n).endswith(".suggestion")]:
        made.notes.append(f"suggestions ({', '.join(suggested)}) are nobody's labels and not kept")
    return made


def _flat(rows: Rows) -> Rows:
    """Records as `to_json` nests them, as rows of fields and questions."""
    records = [(record["fields"] or {}) | (record["responses"] or {}) for record in rows.frame.to_dict("records")]
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: pd.Series([record.get(name) for record in records], dtype=object) for name in names}
    return replace(rows, frame=pd.DataFrame(columns))


def _questions(rows: Rows) -> list[str]:
    """Names of the questions that somebody could answer, of either version."""
    later = [str(n).removesuffix(".responses") for n in rows.frame if str(n).endswith(".responses")]
    earlier = [str(n) for n in rows.frame if _is_earlier(rows.frame[n])]
    return [*later, *earlier]


def _is_earlier(cells: pd.Series) -> bool:
    """Whether a column is a question of version 1: lists of responses."""
    first = next((cell for cell in cells if cell is not None and cell != []), None)
    return isinstance(first, list) and isinstance(first[0], dict) and {"user_id", "value"} <= first[0].keys()


def _submitted(question: str, row: dict, made: Converted) -> list[tuple[Any, Any]]:
    """(user, value) of the submitted responses to a question of one record; the others are counted."""
    if f"{question}.responses" in row:
        values = row[f"{question}.responses"] or []
        users, statuses = (row.get(f"{question}.responses.{name}") or [None] * len(values) for name in ("users", "status"))
        found = list(zip(users, values, statuses))
    else:
        found = [(one.get("user_id"), one.get("value"), one.get("status")) for one in row[question] or []]
    kept = []
    for user, value, status in found:
        if status in (None, "submitted") and value is not None:
            kept.append((user, value))
        else:
            made.left_out[f"responses that are {status if status not in (None, 'submitted') else 'empty'}"] += 1
    return kept


def _ranked(value: list, row: dict) -> list[tuple[Any, Any]]:
    """The texts of a ranking's fields with their ranks, of which the lower is better."""
    ranks = [(one, place) if isinstance(one, str) else (one["value"], one.get("rank")) for place, one in enumerate(value, start=1)]
    return [(row.get(name), rank) for name, rank in ranks if rank is not None]


def _ahead(one: Any, two: Any) -> str:
    """Of two ranks, of which the lower is better."""
    return "tie" if one == two else "a" if one < two else "b"


def _label(value: Any, texts: dict[str, str]) -> Any:
    """The answer whose field is named, or the value as it is, to be read by its words."""
    sides = {texts["a"]: "a", texts["b"]: "b"}
    return sides.get(value, value) if not isinstance(value, str) or read_word(value.casefold()) is None else value
