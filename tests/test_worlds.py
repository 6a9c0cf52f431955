"""Simulated worlds answer and judge by the distributions they state."""

import re
from dataclasses import replace

import numpy as np
import pytest

from raterhf.worlds.world import People, Question, World, _Labelling, base_corpus, label_people, load_world

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


def test_people_answer_by_the_distribution(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    assert (answers >= 0).all()
    for column, question in zip(answers.T, small.questions):
        counts = np.bincount(column, minlength=len(question.classes))
        chi_square = ((counts - N * question.distribution) ** 2 / (N * question.distribution)).sum()
        # mean df, standard deviation sqrt(2 df)
        df = len(question.classes) - 1
        assert chi_square < df + 4 * np.sqrt(2 * df), (question.key, chi_square)


def test_each_type_answers_by_its_own_distribution(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    taste = len(small.questions) - 1
    for kind in range(len(small.types)):
        seen = shares(answers[people.types == kind, taste], len(small.questions[taste].classes))
        assert np.abs(seen - small.questions[taste].type_distributions[kind]).max() < 0.03
    assert np.abs(shares(people.types, len(small.types)) - small.type_weights).max() < 0.015


def test_coins_are_rolled_again_and_tastes_stay(small, people):
    first, second = (small.answers(people, np.random.default_rng(seed)) for seed in (1, 2))
    for column, question in enumerate(small.questions):
        agree = (first[:, column] == second[:, column]).mean()
        by_chance = (question.distribution**2).sum()
        assert agree == 1 if question.persistent else abs(agree - by_chance) < 0.015, question.key


def test_tastes_hang_together_by_the_joint_distribution(small, people):
    answers = small.answers(people, np.random.default_rng(0))
    a, b = small.questions[-2:]
    distribution = small.joint_distribution(a, b)
    assert distribution.shape == (len(a.classes), len(b.classes))
    assert distribution.sum() == pytest.approx(1)
    np.testing.assert_allclose(distribution.sum(1), a.distribution, atol=1e-12)
    np.testing.assert_allclose(distribution.sum(0), b.distribution, atol=1e-12)
    seen = np.zeros_like(distribution)
    np.add.at(seen, (answers[:, -2], answers[:, -1]), 1 / N)
    assert np.abs(seen - distribution).max() < 0.012
    # and it is not the product of the two
    assert 0.5 * np.abs(distribution - np.outer(a.distribution, b.distribution)).sum() > 0.05


def test_every_distribution_sums_to_one(world):
    for a in world.questions:
        assert a.distribution.sum() == pytest.approx(1) and a.base_distribution.sum() == pytest.approx(1)
        np.testing.assert_allclose(world.type_weights @ a.type_distributions, a.distribution, atol=1e-7)
        assert all(world.joint_distribution(a, b).sum() == pytest.approx(1, abs=1e-6) for b in world.questions)


def test_the_base_distribution_is_not_the_peoples_distribution(world):
    for question in world.rated:
        valid = question.class_of >= 0
        junk = question.base_distribution[~valid].sum()
        assert junk == pytest.approx(0.12)
        base = np.bincount(question.class_of[valid], question.base_distribution[valid], len(question.classes)) / (1 - junk)
        # nearest at the spinner, .033
        assert 0.5 * np.abs(base - question.distribution).sum() > 0.03, question.key
        badly_put = question.base_distribution[valid & (question.wording_of > 0)].sum()
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


# The world `companion`


@pytest.fixture(scope="module")
def companion() -> World:
    return load_world("companion")


def named(world: World, key: str) -> Question:
    return next(question for question in world.questions if question.key == key)


def test_the_companion_has_lawful_questions_that_are_told_apart(companion):
    prompts = [prompt for question in companion.questions for prompt in question.paraphrases]
    assert len(set(prompts)) == len(prompts)
    for question in companion.questions:
        assert question.distribution.sum() == pytest.approx(1) and question.base_distribution.sum() == pytest.approx(1)
        np.testing.assert_allclose(companion.type_weights @ question.type_distributions, question.distribution, atol=1e-7)
        assert len(set(question.texts)) == len(question.texts), question.key
        assert [question.parse(text) for text in question.texts] == question.class_of.tolist()
        assert sorted(set(question.quality)) == [-6, -3, -2, -1, 0], question.key
    assert [sum(q.kind == kind for q in companion.questions) for kind in ("taste", "favourite")] == [12, 10]


def test_a_prompt_that_states_its_distribution_states_the_right_one(companion):
    stated = [q for q in companion.questions if re.fullmatch(r"(urn|coin|die)-\d\d", q.key)]
    assert len(stated) == 22 and {len(q.classes) for q in stated} == {2, 3, 4, 5, 6}
    for question in stated:
        assert not question.persistent and (len(question.prompts), len(question.novel_prompts)) == (2, 1)
        for prompt in question.paraphrases:
            if "fair" in prompt:
                sides = int(re.search(r"\d", prompt)[0])
                distribution = {name: 1 / sides for name in question.classes}
                assert len(distribution) == sides
            else:
                counts = {name: int(n) for n, name in re.findall(r"(\d+)%? (\w+)", prompt)}
                distribution = {name: n / sum(counts.values()) for name, n in counts.items()}
            assert distribution == pytest.approx(dict(zip(question.classes, question.distribution))), prompt
    assert [sorted(q.distribution) for q in stated].count([0.49, 0.51]) == 1


def test_framed_wordings_are_known_and_asked_in_training_and_test(companion):
    odd = [q for q in companion.questions if q.key.startswith("odd-")]
    assert len(odd) == 8
    for question in odd:
        assert set(question.framed) == {p for p in question.paraphrases if " asks: " in p}
        for wordings in (question.prompts, question.novel_prompts):
            assert 0 < sum(p in question.framed for p in wordings) < len(wordings)
    assert all(not q.framed for q in companion.questions if q not in odd)


def test_jokes_have_the_popularity_of_zipf(companion):
    joke, animal = named(companion, "joke"), named(companion, "animal-joke")
    np.testing.assert_allclose(joke.distribution[0] / joke.distribution, np.arange(1, 41))
    # 1 + 1/2 + ... + 1/20 = 3.5977
    assert animal.distribution[0] == pytest.approx(1 / 3.5977, abs=1e-5)
    assert all(len(text.split()) <= 8 for q in (joke, animal) for text, w in zip(q.texts, q.wording_of) if w == 0)


def test_poems_have_eight_forms(companion):
    for question in (named(companion, "poem-sea"), named(companion, "poem-winter")):
        forms = [form.split() for form in question.classes]
        assert len(forms) == 8 and all(len(set(part)) == 2 for part in zip(*forms))
        for (_, stanzas, lines), text in zip(forms, question.texts[::4]):
            assert text.count("\n\n") == {"one": 0, "two": 1}[stanzas]
            words = [len(line.split()) for line in text.split("\n") if line]
            assert len(words) == 2 * (1 + text.count("\n\n"))
            assert max(words) <= 3 if lines == "short" else min(words) >= 4


def test_the_wedding_is_overrated_by_judges_and_said_no_more(companion):
    story = named(companion, "story")
    wedding = story.class_of == story.classes.index("wedding")
    assert story.bonus.tolist() == (1.5 * wedding).tolist()
    assert [q.key for q in companion.questions if q.bonus.any()] == ["story", "tale"]
    assert story.quality[wedding].tolist() == [0, -1, -2, -3]

    # Without slips and ties P(wedding beats another, put as well) is the logistic of log p - log p' + 1.5.
    world = replace(companion, questions=[story], label_noise=0.0, tie_width=0.0)
    people = world.draw_people(N, 0, "x")
    said = shares(world.answers(people, np.random.default_rng(0))[:, 0], len(story.classes))
    assert np.abs(said - story.distribution).max() < 0.012
    labelling = _Labelling(world, people, np.random.default_rng(0))
    a, b = np.flatnonzero(wedding)[0], 4 * story.classes.index("storm")
    won = np.mean([labelling.compare(r, story, a, b) == 1 for r in range(4000)])
    # distribution .13 and .15: the odds .13 / .15 * exp(1.5) are 3.884, without the bonus .867
    assert won == pytest.approx(3.884 / 4.884, abs=0.025)
    own = [story.parse(labelling.own_answer(r, story)) == story.classes.index("wedding") for r in range(4000)]
    assert np.mean(own) == pytest.approx(0.13, abs=0.02)


def test_ratings_know_the_bonus_too(companion):
    story = named(companion, "story")
    plain = replace(story, bonus=np.zeros_like(story.bonus))
    mean = {}
    for name, question in (("overrated", story), ("plain", plain)):
        world = replace(companion, questions=[question])
        labelling = _Labelling(world, world.draw_people(2000, 0, "x"), np.random.default_rng(0))
        rows = [row for r in range(2000) for row in labelling.ratings(r, question, 4)]
        mean[name] = np.mean([value for text, value in rows if question.parse(text) == question.classes.index("wedding")])
    # half a point of five for each unit of utility, less where the scale ends
    assert 0.4 < mean["overrated"] - mean["plain"] <= 0.75


def test_worlds_say_how_many_label_what(world, companion):
    assert (world.n_train, world.n_validate, world.n_asked, world.n_pairs) == (400, 200, 9, 10)
    frames = label_people(companion, companion.draw_people(3, 0, "t"), 0)
    assert (frames["demonstrations"].groupby("rater_id").size() == 24 + 2).all()
    assert (frames["comparisons"].groupby("rater_id").size() == 24 * 5 + 10).all()
