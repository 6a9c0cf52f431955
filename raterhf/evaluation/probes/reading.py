"""Which class of a closed question an answer in free text gives: the one that is answered, not one that the question or a list mentions.

An answer is read as mentions of values: numbers in digits or words, or the classes' words. Mentions that state the question again are left
out: ranges, percentages, counts ("6 sides"), lists of the options ("heads or tails"), what other people say, and what is denied. Of those
left, the one that the text commits to ("I'll go with 7", "Answer: 7", a line of its own) is the reading; without such words the only value
there is. Where several are left, or one that is no class (42.5, -5, 1,000), the reading is UNCLEAR: better none than a wrong class.

The words by which these are told stand in `reading_words.py`.
"""

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
    values = {one.value for one in mentions}
    if len(values) > 1 and (told.ORDERED.search(text) or _lists(text, mentions)):
        return UNCLEAR
    committed = [one for one in mentions if _commits(text, one)]
    if committed:
        values = {one.value for one in committed}
        if len(values) > 1 and told.CORRECTS.search(text[committed[-2].end : committed[-1].start]):
            values = {committed[-1].value}
    elif len(alone) == 1:
        values = set(alone)
    return _class(values.pop()) if len(values) == 1 else UNCLEAR


def _class(value: int) -> int:
    return UNCLEAR if value == OTHER else value


def _plain(completion: str) -> str:
    """Without Markdown, thoughts, list numbers and the typography of quotes and minus signs; line breaks stay."""
    text = told.THOUGHT.sub(" ", unicodedata.normalize("NFKC", completion)).replace("\u2212", "-").replace("’", "'")
    text = told.FORMULA.sub(r"\1\2", text)
    text = told.MARKDOWN.sub(" ", text)
    if len(told.ENUMERATES.findall(text)) > 1:
        text = told.ENUMERATES.sub("", text)
    return text.strip()


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
        article = len(said) == 1 and said.isalpha() and said.islower()  # "a" where a class is called A
        pronoun = said.casefold() == "one" and not (
            told.ENDS.match(text[match.end() :]) and not told.ASKS_ONE.search(text[: match.start()])
        )
        if not article and not pronoun:
            found.append(Mention(_value_of(said, classes), match.start(), match.end()))
    return found


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
    if told.DENIED.search(before):
        return True
    return bool(told.OTHERS_SAY.search(before) or told.UNSURE.search(before)) and not _commits(text, one)


def _commits(text: str, one: Mention) -> bool:
    return bool(told.COMMITS.search(_before(text, one)) or told.COMMITTED.match(text[one.end :]))


def _lists(text: str, mentions: list[Mention]) -> bool:
    """Whether two different values stand side by side as a list: "4, 8"."""
    return any(a.value != b.value and told.JOINS.fullmatch(text[a.end : b.start]) for a, b in zip(mentions, mentions[1:]))
