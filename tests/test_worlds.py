"""The dice world answers and judges by the laws it states."""

from dataclasses import replace

import numpy as np
import pytest

from raterhf.data.worlds import People, World, base_corpus, label_people, load_world

N = 20_000


@pytest.fixture(scope="module")
def world() -> World:
    return load_world("dice")


@pytest.fixture(scope="module")
def small(world) -> World:
    """Six questions of the world, so that 20,000 people fit into memory."""
    keys = ("coin", "die", "spinner", "num10")
    plain = [q for q in world.questions if q.key in keys]
    return replace(world, questions=plain + [q for q in world.rated if q.kind == "taste"][:2])


@pytest.fixture(scope="module")
def people(small) -> People:
    return small.draw_people(N, 0, "x")


def shares(column: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(column, minlength=classes) / len(column)


def test_people_answer_by_the_law(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    assert (answers >= 0).all()
    for column, question in zip(answers.T, small.questions):
        counts = np.bincount(column, minlength=len(question.classes))
        chi_square = ((counts - N * question.law) ** 2 / (N * question.law)).sum()
        # mean df, standard deviation sqrt(2 df)
        df = len(question.classes) - 1
        assert chi_square < df + 4 * np.sqrt(2 * df), (question.key, chi_square)


def test_each_type_answers_by_its_own_law(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    taste = len(small.questions) - 1
    for kind in range(len(small.types)):
        seen = shares(answers[people.types == kind, taste], len(small.questions[taste].classes))
        assert np.abs(seen - small.questions[taste].type_laws[kind]).max() < 0.03
    assert np.abs(shares(people.types, len(small.types)) - small.type_weights).max() < 0.015


def test_coins_are_rolled_again_and_tastes_stay(small, people):
    first, second = (small.answers(people, np.random.default_rng(seed)) for seed in (1, 2))
    for column, question in enumerate(small.questions):
        agree = (first[:, column] == second[:, column]).mean()
        by_chance = (question.law**2).sum()
        assert agree == 1 if question.persistent else abs(agree - by_chance) < 0.015, question.key


def test_tastes_hang_together_by_the_joint_law(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    a, b = small.questions[-2:]
    law = small.joint_law(a, b)
    assert law.shape == (len(a.classes), len(b.classes))
    assert law.sum() == pytest.approx(1)
    np.testing.assert_allclose(law.sum(1), a.law, atol=1e-12)
    np.testing.assert_allclose(law.sum(0), b.law, atol=1e-12)
    seen = np.zeros_like(law)
    np.add.at(seen, (answers[:, -2], answers[:, -1]), 1 / N)
    assert np.abs(seen - law).max() < 0.012
    # and it is not the product of the two
    assert 0.5 * np.abs(law - np.outer(a.law, b.law)).sum() > 0.05


def test_every_law_sums_to_one(world):
    for a in world.questions:
        assert a.law.sum() == pytest.approx(1) and a.base_law.sum() == pytest.approx(1)
        np.testing.assert_allclose(world.type_weights @ a.type_laws, a.law, atol=1e-7)
        assert all(world.joint_law(a, b).sum() == pytest.approx(1, abs=1e-6) for b in world.questions)


def test_the_base_law_is_not_the_peoples_law(world):
    for question in world.rated:
        valid = question.class_of >= 0
        junk = question.base_law[~valid].sum()
        assert junk == pytest.approx(0.12)
        base = np.bincount(question.class_of[valid], question.base_law[valid], len(question.classes)) / (1 - junk)
        # nearest at the spinner, .033
        assert 0.5 * np.abs(base - question.law).sum() > 0.03, question.key
        badly_put = question.base_law[valid & (question.wording_of > 0)].sum()
        assert badly_put > 0.5


def test_repeated_comparisons_agree_but_for_slips(world):
    # Tastes persist, so two labels of one pair differ only where one of them slipped: (1-s)^2 + s^2 = .905 at s = .05.
    rounds = world.draw_people(150, 3, "r")
    labels = label_people(world, rounds, 3, n_repeats=60)["comparisons"]
    labels["kind"] = [world.question_of(p).kind for p in labels.prompt]
    per_person = [group.iloc[90:].merge(group.iloc[:90], on=["prompt", "a", "b"]) for _, group in labels.groupby("rater_id")]
    agree = {"lasting": [], "rolled": []}
    for pairs in per_person:
        pairs = pairs[(pairs.label_x != 0) & (pairs.label_y != 0)]
        lasting = pairs.kind_x.isin(["taste", "favourite"])
        agree["lasting"] += list(pairs[lasting].label_x == pairs[lasting].label_y)
        agree["rolled"] += list(pairs[~lasting].label_x == pairs[~lasting].label_y)
    assert len(agree["lasting"]) > 2000 and len(agree["rolled"]) > 500
    assert np.mean(agree["lasting"]) == pytest.approx(0.95**2 + 0.05**2, abs=0.02)
    assert np.mean(agree["rolled"]) < 0.85


def test_parse(world):
    coin = world.question_of("Flip a coin.")
    assert coin.key == "coin"
    assert [coin.parse(text) for text in ("My answer is heads.", "tails.", " maybe tails\n", "heads heads or so")] == [0, 1, 1, 0]
    assert [coin.parse(text) for text in ("My answer is the edge.", "Ask me later.", "heads", "", "My answer is 3.")] == [-1] * 5
    for question in world.questions:
        assert len(set(question.texts)) == len(question.texts), question.key
        assert [question.parse(text) for text in question.texts] == question.class_of.tolist()


def test_gold_grades_how_an_answer_is_put(world):
    texts = ["My answer is heads.", "heads.", "maybe tails", "heads heads or so", "Ask me later.", "no answer at all"]
    assert [world.gold("Flip a coin.", text) for text in texts] == [0.0, -1.0, -2.0, -3.0, -6.0, -6.0]


def test_novel_prompts_are_asked_of_nobody(world):
    novel = {prompt for question in world.questions for prompt in question.novel_prompts}
    unrated = {prompt for question in world.questions if question.kind == "unrated" for prompt in question.paraphrases}
    frames = label_people(world, world.draw_people(10, 0, "t"), 0)
    for frame in frames.values():
        assert not set(frame.prompt) & (novel | unrated)
    assert novel | unrated <= set(base_corpus(world, 0, n_per_prompt=1).prompt)


def test_the_same_seed_gives_the_same_labels(world):
    first, second = (label_people(world, world.draw_people(4, 5, "t"), 5) for _ in range(2))
    other = label_people(world, world.draw_people(4, 6, "t"), 6)
    assert all(first[kind].equals(second[kind]) for kind in first)
    assert not first["comparisons"].equals(other["comparisons"])
    assert first["comparisons"].label.isin([-1, 0, 1]).all()
    assert (first["comparisons"].groupby("rater_id").size() == 100).all()
