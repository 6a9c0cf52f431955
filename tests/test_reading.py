"""Answers in free text are read as the class that is answered, and as unclear rather than as a wrong one."""

import json
from pathlib import Path

import pytest

from raterhf.evaluation.probes.reading import UNCLEAR, read_answer

KINDS = {
    "to 100": [str(i) for i in range(101)],
    "to 10": [str(i) for i in range(1, 11)],
    "coin": ["heads", "tails"],
    "die": ["one", "two", "three", "four", "five", "six"],
    "d8": ["one", "two", "three", "four", "five", "six", "seven", "eight"],
    "urn": ["red", "green", "blue"],
    "colour": ["red", "green", "blue", "yellow", "orange", "purple", "black", "white"],
    "choice": ["A", "B", "C", "D"],
}
CHATTY = [json.loads(line) for line in (Path(__file__).parent / "chatty.jsonl").read_text("utf-8").splitlines()]


def read(text: str, kind: str) -> str | None:
    number = read_answer(text, KINDS[kind])
    return None if number == UNCLEAR else KINDS[kind][number]


@pytest.mark.parametrize(
    "text, kind, says",
    [
        ("Sure! Here's a random number from 0 to 100: 42", "to 100", "42"),
        ("The coin falls 51% heads and 49% tails, so the answer is tails", "coin", "tails"),
        ("There are 3 red, 2 blue and 5 green balls. I draw green.", "urn", "green"),
        ("You rolled a 6-sided die and got 3", "die", "three"),
        ("Pick a random number from 1 to 10.\n\n7", "to 10", "7"),
        ("Random number: 73 (generated with random.randint(0, 100))", "to 100", "73"),
        ("Forty-two.", "to 100", "42"),
        ("one hundred", "to 100", "100"),
        ("heads (51%)", "coin", "heads"),
        ("**Tails** it is!", "coin", "tails"),
        ("I have no preference for A letter. My pick: B", "choice", "B"),
    ],
)
def test_the_answer_is_read_not_what_states_the_question(text, kind, says):
    assert read(text, kind) == says


@pytest.mark.parametrize(
    "text, kind, says",
    [
        ("I thought of 3, but I'll go with 9.", "to 10", "9"),
        ("Most people say 7, so I will pick 4.", "to 10", "4"),
        ("Not heads, but tails.", "coin", "tails"),
        ("My pick: blue. Red is too loud.", "urn", "blue"),
        ("5 is my answer, since 4 is even.", "to 10", "5"),
    ],
)
def test_what_the_speaker_commits_to_counts(text, kind, says):
    assert read(text, kind) == says


@pytest.mark.parametrize(
    "text, kind",
    [
        ("-5", "to 100"),
        ("1,000", "to 100"),
        ("42.5", "to 100"),
        ("1. 4\n2. 7\n3. 9", "to 10"),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "to 10"),
        ("Numbers: 4, 8", "to 10"),
        ("The first number is 5 and the second is 8.", "to 10"),
        ("I'll pick one.", "to 10"),
        ("The result could be heads or tails.", "coin"),
        ("As an AI language model, I cannot flip a coin.", "coin"),
        ("Blue, because it is calm like the sea. Red is too loud.", "urn"),
        ("a ball is drawn", "choice"),
        ("", "coin"),
    ],
)
def test_what_is_no_single_class_is_unclear(text, kind):
    assert read(text, kind) is None


def test_of_300_chatty_answers_95_in_a_hundred_are_read_right_and_none_as_a_wrong_class():
    """Written by hand after what chat models say, more of it awkward than they are; a null is an answer without a single class."""
    assert len(CHATTY) == 300
    found = [(read(row["text"], row["kind"]), row["says"]) for row in CHATTY]
    assert sum(got == says for got, says in found) >= 285
    assert [(got, says) for got, says in found if got is not None and got != says] == []
