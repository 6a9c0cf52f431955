"""Finds the texts that a labelling task showed, by the names that people give them: a prompt, two answers, or one response."""

import re

from raterhf.data.convert.base import Ask
from raterhf.errors import UserError

PROMPTS = ("prompt", "question", "instruction", "query", "context", "conversation", "input", "messages")
RESPONSES = ("response", "completion", "answer", "output", "generation", "reply", "text")
_SIDES = (("1", "2"), ("a", "b"), ("left", "right"), ("first", "second"))
_TWO = re.compile(r"(.*?)[ _\-.]?(1|2|a|b|left|right|first|second)", re.IGNORECASE)


def find_texts(name: str, keys: list[str], ask: Ask, alone: bool = False) -> dict[str, str]:
    """Our names -> the task's: prompt with a and b, or (`alone`) with response. Raises UserError where several fit or none does."""
    found = {ours: theirs for ours, theirs in ask.columns.items() if ours in ("prompt", "a", "b", "response")}
    if missing := [theirs for theirs in found.values() if theirs not in keys]:
        raise UserError(f"{name}: no text {missing[0]!r}; tasks have {', '.join(keys)}: correct --column")
    if not alone and not {"a", "b"} <= found.keys():
        found |= _pair(name, keys)
    rest = [key for key in keys if key not in found.values()]
    if alone and "response" not in found:
        found["response"] = _one(name, "response", [key for key in RESPONSES if key in rest] or rest)
        rest.remove(found["response"])
    if "prompt" not in found:
        found["prompt"] = _one(name, "prompt", [key for key in PROMPTS if key in rest] or rest)
    return found


def _one(name: str, ours: str, fitting: list[str]) -> str:
    if not fitting:
        raise UserError(f"{name}: no text of a task is left for our {ours}; name it with --column {ours}=NAME")
    if len(fitting) > 1 and fitting[0] not in (*PROMPTS, *RESPONSES):
        raise UserError(f"{name}: which text of a task is our {ours}: {', '.join(fitting)}? Say so with --column {ours}=NAME")
    return fitting[0]


def _pair(name: str, keys: list[str]) -> dict[str, str]:
    stems: dict[str, dict[str, str]] = {}
    for key in keys:
        if fit := _TWO.fullmatch(key):
            stems.setdefault(fit[1].lower(), {})[fit[2].lower()] = key
    pairs = [(ends[one], ends[two]) for ends in stems.values() for one, two in _SIDES if {one, two} <= ends.keys()]
    if len(pairs) != 1:
        raise UserError(
            f"{name}: which two texts of a task are compared? It has {', '.join(keys)}: say so with --column a=NAME --column b=NAME"
        )
    return dict(zip("ab", pairs[0]))
