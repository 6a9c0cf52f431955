"""Which class of a closed question an answer in free text gives: the one that is answered, not one that the question or a list mentions.

An answer is read as mentions of values: numbers in digits or words, or the classes' words. Mentions that state the question again are left
out: ranges, percentages, counts ("6 sides"), lists of the options ("heads or tails"), what other people say, and what is denied. Of those
left, the one that the text commits to ("I'll go with 7", "Answer: 7", a line of its own) is the reading; without such words the only value
there is. Where several are left, or one that is no class (42.5, -5, 1,000), the reading is UNCLEAR: better none than a wrong class.

The words by which these are told stand in `reading_words.py`.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from raterhf.evaluation.probes import reading_words as told

UNCLEAR = -1
OTHER = -2  # a value that is none of the classes
REACH = 160  # characters before a mention that may tell what it is

Classes = tuple[str, ...]


@dataclass(frozen=True)
class Mention:
    """A value at [start, end) of a text: a class, or OTHER."""

    value: int
    start: int
    end: int


def read_answer(completion: str, classes: Sequence[str]) -> int:
    """The place in `classes` of the answer that a text gives, UNCLEAR (-1) where it gives none or more than one."""
    names, text = tuple(classes), _plain(completion)
    lines = [line for line in text.split("\n") if line.strip()]
    alone = [value for line in lines if (value := _whole(line, names)) is not None]
    if alone and len(set(alone)) == 1 and _whole(lines[0], names) is not None:
        return _class(alone[0])
    mentions = [one for one in _mentions(_without_statements(text, names), names) if not _left_out(text, one)]
    for retracted in told.RETRACTS.finditer(text):
        mentions = [one for one in mentions if one.start > retracted.start()] or mentions
    values = {one.value for one in mentions}
    if len(values) > 1 and (told.ORDERED.search(text) or len(set(alone)) > 1) or told.DECIDES_NOT.search(text):
        return UNCLEAR
    for pattern in (told.COMMITS, told.PASSES):
        committed = [one for one in mentions if _commits(text, one, pattern)]
        if committed:
            values = {one.value for one in committed}
            if _lists(text, mentions, committed[-1]):
                return UNCLEAR
            if len(values) > 1 and told.CORRECTS.search(text[committed[-2].end : committed[-1].start]):
                values = {committed[-1].value}
            break
        if any(_lists(text, mentions, one) for one in mentions):
            return UNCLEAR
        if len(alone) == 1:
            values = set(alone)
            break
    else:
        first = re.split(r"[.!?]\s", text, maxsplit=1)[0]
        if not told.number(first) and (value := _whole(first, names)) is not None:
            values = {value}
    return _class(values.pop()) if len(values) == 1 else UNCLEAR


def _class(value: int) -> int:
    return UNCLEAR if value == OTHER else value


def _plain(completion: str) -> str:
    """Without Markdown, thoughts, code, list numbers and the typography of quotes and minus signs; line breaks stay."""
    text = told.THOUGHT.sub(" ", unicodedata.normalize("NFKC", completion)).replace("\u2212", "-").replace("’", "'")
    text = told.CODE.sub(lambda block: _said_by_code(block[1]), text)
    text = _said_by_json(text) or told.CODE_LINE.sub(lambda line: " ".join(told.COMMENT.findall(line[0])), text)
    text = told.FORMULA.sub(r"\1\2", text)
    text = told.MARKDOWN.sub(" ", text)
    for pattern in (told.ENUMERATES, told.LISTED):
        if len(pattern.findall(text)) > 1:
            text = pattern.sub("", text)
    return text.strip()


def _said_by_code(code: str) -> str:
    """What a block of code holds beside statements: its comments, or the whole where it has no statement."""
    return _said_by_json(code) or told.CODE_LINE.sub(lambda line: " ".join(told.COMMENT.findall(line[0])), code)


def _said_by_json(text: str) -> str:
    """The result in a JSON object, empty where it is none: the one value there is, or that of a key that is called so."""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    named = [value for key, value in found.items() if told.RESULTS.search(key)] if len(found) > 1 else list(found.values())
    return "\n".join(str(value) for value in named if isinstance(value, str | int | float))


@lru_cache
def _values(classes: Classes) -> tuple[dict[int, int], dict[str, int], re.Pattern]:
    """Numbers and words -> class, and what matches a mention."""
    numbers = {int(value): i for i, name in enumerate(classes) if (value := told.number(name)) is not None}
    names = {name.casefold(): i for i, name in enumerate(classes)}
    words = told.any_of(_words(classes))
    parts = ([told.NUMBER] if numbers else []) + ([rf"(?<![\w-])(?:{words})(?!\w)"] if words else [])
    return numbers, names, re.compile("|".join(parts), re.I)


def _words(classes: Classes) -> list[str]:
    return [name for name in classes if told.number(name) is None]


def _value_of(text: str, classes: Classes) -> int:
    numbers, names, _ = _values(classes)
    if text.casefold() in names:
        return names[text.casefold()]
    value = told.number(text)
    return numbers.get(int(value), OTHER) if value is not None and value == int(value) else OTHER


def _mentions(text: str, classes: Classes) -> list[Mention]:
    found = []
    for match in _values(classes)[2].finditer(text):
        said = match[0]
        article = len(said) == 1 and said.isalpha() and not _is_letter(text, match.start(), match.end())
        pronoun = said.casefold() == "one" and not (
            told.ENDS.match(text[match.end() :]) and not told.ASKS_ONE.search(text[: match.start()])
        )
        if not article and not pronoun:
            found.append(Mention(_value_of(said, classes), match.start(), match.end()))
    return found


def _is_letter(text: str, start: int, end: int) -> bool:
    """Whether a single letter names an option, and is no article."""
    return bool(told.LETTER.search(text[:start]) or text[start].isupper() and told.LETTER_SAYS.match(text[end:]))


def _whole(line: str, classes: Classes) -> int | None:
    """The value that a line consists of, None where it says more. A chance behind it, as in "heads (51%)", is nothing more."""
    bare = told.PERCENT_BEHIND.sub("", line).strip(told.AROUND)
    return _value_of(bare, classes) if bare and _values(classes)[2].fullmatch(bare) else None


def _without_statements(text: str, classes: Classes) -> str:
    """The text with ranges, percentages, counts and lists of options blanked, character for character."""

    def blank(match: re.Match) -> str:
        return " " * len(match[0])

    def blank_range(match: re.Match) -> str:
        low, high = told.number(match[1]), told.number(match[2])
        listed = told.PLAIN_LIST.search(match[0]) and not told.OPENS_RANGE.match(match[0])
        return match[0] if listed or low is None or high is None or low >= high else blank(match)

    text = told.RANGE.sub(blank_range, text)
    if words := _words(classes):
        for pattern in told.options(tuple(words)):
            text = pattern.sub(blank, text)
    return told.COUNT.sub(blank, told.PERCENT.sub(blank, text))


def _before(text: str, one: Mention) -> str:
    """What stands before a mention in its sentence; the end of a line does not end one."""
    return re.split(r"(?<=[.!?])\s", text[max(0, one.start - REACH) : one.start])[-1]


def _left_out(text: str, one: Mention) -> bool:
    before = _before(text, one)
    said = text[one.start : one.end]
    if told.BOUNDS.match(text[one.end :]) or told.REPEATS.search(text[max(0, one.start - REACH) : one.start]):
        return True
    if told.DENIED.search(before) or told.number(said) is not None and told.NUMBERS.search(before):
        return True
    return bool(told.OTHERS_SAY.search(before) or told.UNSURE.search(before)) and not _commits(text, one, told.COMMITS)


def _commits(text: str, one: Mention, pattern: re.Pattern) -> bool:
    return bool(pattern.search(_before(text, one)) or told.COMMITTED.match(text[one.end :]))


def _lists(text: str, mentions: list[Mention], one: Mention) -> bool:
    """Whether another value stands right behind one, as in a list: "4, 8"."""
    return any(one.value != other.value and told.JOINS.fullmatch(text[one.end : other.start]) for other in mentions)
