"""The questions that come with the project: what stands in their prompts agrees with their distributions."""

import re
from collections import Counter

import numpy as np
import pytest

from raterhf.errors import UserError
from raterhf.evaluation.probes.questions import read_questions, shipped_questions

QUESTIONS = shipped_questions()
STATED = [question for question in QUESTIONS if question.topic == "dice"]


def test_there_are_enough_and_no_key_comes_twice():
    topics = Counter(question.topic for question in QUESTIONS)
    assert topics["odd"] == 40 and topics["dice"] >= 20
    assert {"numbers", "jokes", "poems", "stories"} <= set(topics)
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS)
    prompts = [prompt for question in QUESTIONS for prompt in [*question.prompts, *question.framed]]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("question", STATED, ids=lambda question: question.key)
def test_a_stated_distribution_is_the_one_in_the_prompt(question):
    for prompt in question.prompts:
        if "fair" in prompt:
            listed = re.findall(rf"\b(?:{'|'.join(question.classes)})\b", prompt)
            assert listed == question.classes
            assert f" {len(question.classes)} sides" in prompt
            stated = np.ones(len(question.classes))
        else:
            said = re.findall(r"(\d+)%? (\w+)", prompt)
            assert [word for _, word in said] == question.classes
            stated = np.array([float(number) for number, _ in said])
            assert "%" not in prompt or stated.sum() == 100
        assert stated / stated.sum() == pytest.approx(question.distribution)


def test_one_coin_falls_51_to_49():
    assert any(question.distribution.tolist() == [0.51, 0.49] for question in STATED)


@pytest.mark.parametrize("question", STATED, ids=lambda question: question.key)
def test_every_class_can_be_said(question):
    assert [question.parse(f"{name.capitalize()}.") for name in question.classes] == list(range(len(question.classes)))
    assert question.parse("I cannot toss anything.") == -1


def test_odd_questions_are_asked_plainly_and_at_one_remove():
    for question in QUESTIONS:
        if question.topic == "odd":
            assert len(question.prompts) == len(question.framed) == 2
            assert all(framed.endswith(plain) and framed != plain for framed, plain in zip(question.framed, question.prompts))
            assert not question.classes and question.distribution is None


def test_poems_are_asked_for_without_rhyme_too():
    (poem,) = (question for question in QUESTIONS if question.topic == "poems")
    assert len(poem.prompts) == len(poem.framed) == 4
    assert all(re.search(r"rhyme", framed) for framed in poem.framed)
    assert not any(re.search(r"rhyme", plain) for plain in poem.prompts)


@pytest.mark.parametrize(
    "text, says",
    [
        ("key: pet", "is no list of questions; each is `- key: ...` with fields answers, distribution"),
        ("- [", "mine.yaml: line 1 is not YAML"),
        ("- {key: pet, topic: numbers, prompts: 'Cat?'}", "pet: prompts is 'Cat?'; give a list of texts"),
        ("- {key: pet, topic: numbers, prompts: []}", "pet: prompts is []; give a list of texts, of prompts at least one"),
        ("- {key: pet, topic: numbers, prompts: [a], answers: {range: 3}}", "pet: answers is {'range': 3}; give a list, or {range"),
        ("- {key: pet, topic: numbers}", "question 1: field prompts is missing"),
    ],
)
def test_a_file_of_no_questions_is_refused(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_questions(path)
    assert says in str(error.value)


def test_a_missing_file_of_questions_is_named(tmp_path):
    with pytest.raises(UserError, match="file of questions .*nowhere.yaml does not exist"):
        read_questions(tmp_path / "nowhere.yaml")
