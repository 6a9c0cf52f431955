"""Words and numbers that a label can be, in one spelling, and what those mean that can be read in one way."""

import re
from dataclasses import dataclass
from typing import Any

from raterhf.data.checks import number

_NAMES = "model|response|answer|assistant|option|output|completion|candidate|conversation"
_THING = rf"(?:(?:{_NAMES})[ _-]?)?"
_SIDE = re.compile(rf"{_THING}([ab])(?:[ -](?:is[ -])?better|[ -]wins)?")
_BOTH_ARE = re.compile(rf"both (?:(?:{_NAMES})s )?are (good|bad)")
_PLACE = re.compile(rf"{_THING}(1|2|0|left|right|first|second)|(left|right|first|second)[ _-](?:{_NAMES})")
_TIES = {"tie", "tied", "equal", "draw", "same", "both", "both equal", "about the same", "no preference", "no difference"}
_BOTH = {"tie (bothbad)": "both bad", "tie (both bad)": "both bad", "bothbad": "both bad", "bothgood": "both good"}
_BOTH |= {f"{prefix}both{gap}{word}": f"both {word}" for prefix in ("", "tie ") for gap in (" ", "_", "-") for word in ("good", "bad")}
LONGEST = 60
"""No mark has more characters, white space included."""
_MARKS = {"1", "2", "0", "-1", "left", "right", "first", "second"}
_BOOLEANS = {"yes": "true", "no": "false", "on": "true", "off": "false"}


@dataclass(frozen=True)
class Said:
    """Label 1 (a), -1 (b), 0 (tie) or None (no label); strength above 0 or NaN; `both`: good, bad or None."""

    label: int | None
    strength: float = float("nan")
    both: str | None = None


def canonical(value: Any) -> str:
    """A label as text in one spelling: 1 for 1, 1.0 and "1.0"; true for True and yes; lower case, one space."""
    if isinstance(value, bool):
        return str(value).lower()
    if (as_number := number(value)) is not None:
        return f"{as_number:g}" if as_number else "0"
    text = " ".join(str(value).split()).casefold()
    return _BOOLEANS.get(text, text)


def is_mark(value: Any) -> bool:
    """Whether a cell is a mark that says which answer, or that neither, and no text: 1, 2, 0, -1, left, model_a, tie."""
    if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > LONGEST):  # texts, most of them, at little cost
        return False
    spelled = bare(canonical(value))
    return spelled in _MARKS or read_word(spelled) is not None


def bare(value: str) -> str:
    """A canonical value that names an answer by its place, without the noun: 1 for response_1 and "answer 1", left for "left response"."""
    found = _PLACE.fullmatch(value)
    return (found[1] or found[2]) if found else value


def read_word(value: str) -> Said | None:
    """What a canonical value means by itself, as model_a, tie and both bad do; None where it does not say."""
    if value in _BOTH:
        return Said(0, both=_BOTH[value].removeprefix("both "))
    if are := _BOTH_ARE.fullmatch(value):
        return Said(0, both=are[1])
    if value in _TIES:
        return Said(0)
    found = _SIDE.fullmatch(value)
    return Said(1 if found[1] == "a" else -1) if found else None
