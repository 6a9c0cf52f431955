"""Who wrote what: triples, features and copies by hand, and classifiers on people who differ in one habit."""

import numpy as np
import pytest

from raterhf.evaluation.metrics import authors, writing

TEXTS = ["I ate.", "I slept.", "we ate", "we slept", "I ate!"]


def test_triples_hold_an_own_answer_against_others_to_its_prompt():
    person, prompt = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
    anchor, own, other = authors.triples(person, prompt, 0)
    found = set(zip(anchor.tolist(), own.tolist(), other.tolist()))
    # Answer 0 finds 1 among 3 and 4 (prompt 1), answer 1 finds 0 beside 2 (prompt 0), and so does the second person; the third has one.
    assert found == {(0, 1, 3), (0, 1, 4), (1, 0, 2), (2, 3, 1), (2, 3, 4), (3, 2, 0)}
    one = authors.triples(person, prompt, 0, others=1)
    assert len(one[0]) == 4
    a, b, same = authors.labelled_pairs(person, prompt, 0)
    assert sorted(zip(a[same].tolist(), b[same].tolist())) == [(0, 1), (2, 3)]
    assert (person[a[~same]] != person[b[~same]]).all() and (prompt[b[~same]] == prompt[b[same]]).all()


def test_pairs_of_each_person_and_none_of_one_answer():
    a, b = authors.pairs(np.array([3, 3, 5, 3]))
    assert list(zip(a.tolist(), b.tolist())) == [(0, 1), (0, 3), (1, 3)]
    assert [len(part) for part in authors.pairs(np.array([1, 2]))] == [0, 0]


def test_what_was_said_as_somebody_is_held_against_what_was_said_as_others():
    known, prompt = np.array([7, 8, 9]), np.array([0, 0, 1])
    person, asked = np.array([7, 7, 8, 9]), np.array([0, 1, 1, 1])
    anchor, own, other = authors.beside_real(known, prompt, person, asked, 0)
    # 7 answered prompt 0 really; 8 did not; nobody else was asked prompt 1 beside 9.
    assert list(zip(anchor.tolist(), own.tolist(), other.tolist())) == [(0, 0, 1)]


def test_features_are_the_same_from_both_sides_and_cosines_by_hand():
    places = np.array([[1.0, 0], [0, 1], [0.6, 0.8], [1, 0], [1, 0]])
    described = authors.Describer(TEXTS)(TEXTS, places)
    a, b = np.array([0, 0]), np.array([4, 2])
    features = authors.pair_features(described, a, b)
    assert features == pytest.approx(authors.pair_features(described, b, a))
    assert features[:, 2] == pytest.approx([1, 0.6])
    assert features[0, 1] == pytest.approx(1)  # the words are the same, and the letters are not
    assert 0 < features[0, 0] < 1
    without = authors.pair_features(authors.Describer(TEXTS)(TEXTS, None), a, b)
    assert without.shape[1] == features.shape[1] - 1


def test_habits_by_hand():
    found = writing.habits(["i SHOUT  , and smile", "I smile."])[:, 16:]
    names = dict(zip(writing.HABITS, found.T.astype(bool).tolist()))
    assert names[r"^[a-z]"] == [True, False] and names[r"[.!?]\s*$"] == [False, True]
    assert names[r"\bi\b"] == [True, False] and names[r"^I\b"] == [False, True]
    assert names[r"  "] == [True, False] and names[r" ,|,\S"] == [True, False] and names[r"[A-Z]{3}"] == [True, False]


def test_classifiers_learn_a_habit_that_hangs_together():
    rng = np.random.default_rng(0)
    things = ["a cat", "a dog", "an eel", "a hen", "a cow", "a fox"]

    def crowd(people: int) -> tuple[list[str], np.ndarray]:
        said = [f"I saw {things[rng.integers(6)]}{'.' if p % 2 else ''}" for p in range(people) for _ in range(3)]
        return said, np.repeat(np.arange(people), 3)

    texts, person = crowd(80)
    describe = authors.Describer(texts)
    a, b, same = authors.labelled_pairs(person, np.zeros(240, int), 0)
    judges = authors.fit_judges(authors.pair_features(describe(texts, None), a, b), same, 0)
    texts, person = crowd(60)
    described = describe(texts, None)
    anchor, own, other = authors.triples(person, np.zeros(180, int), 0)
    for judge in judges.values():
        found = [judge(authors.pair_features(described, anchor, which)) for which in (own, other)]
        # Half the others have the same habit, and of them nobody can be told: .75 is what can be reached.
        assert authors.told_apart(*found).mean() == pytest.approx(0.75, abs=0.05)


def test_ties_count_half():
    assert authors.told_apart(np.array([2, 1, 1]), np.array([1, 1, 2])).tolist() == [1, 0.5, 0]


def test_copies_are_known_by_their_words_and_by_what_lies_near():
    assert authors.bare("I  ATE, again!") == "i ate again"
    bare = [authors.bare(text) for text in TEXTS]
    assert authors.said_by_nobody_else(bare, np.array([0, 0, 1, 1, 2])).tolist() == [0, 1, 1, 1, 0]
    assert authors.said_by_nobody_else(["a", "a"], np.array([0, 0])).tolist() == [1, 1]  # a person's own again
    places, known = np.array([[1.0, 0], [0.6, 0.8]]), np.array([[0.0, 1], [0.8, 0.6]])
    assert authors.nearest(places, known, at_once=1) == pytest.approx([0.8, 0.96])
