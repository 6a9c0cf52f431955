"""Posterior predictive checks: every figure by hand, and crowds that are, and are not, like the people."""

import json

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds
from tables import few_rivals
from test_pairs import simulated

from raterhf.bench.people import Crowd, agreements, checks, couples, rare_recall, wins
from raterhf.bench.twins import against_threshold, drawn_comparisons, drawn_ratings
from raterhf.raters.items import ItemModel, Ratings
from raterhf.raters.pairs import Comparisons, PairModel

# Person 0 prefers thing 0 to 1 and to 2; person 1 prefers 1 to 0, and 0 to 2. Most value 0 over 1 over 2.
CROWD = Crowd(np.array([0, 0, 1, 1]), np.array([0, 2, 0, 0]), np.array([1, 0, 1, 2]), np.array([1.0, 0.0, 0.0, 1.0]), None)
WORTH = np.array([2.0, 1.0, 0.0])


def test_agreement_and_wins_by_hand():
    assert agreements(CROWD, WORTH).tolist() == [1, 0.5]
    share, known = wins(CROWD, 3)
    assert share.tolist() == [[1, 0, 0], [0.5, 1, 0]] and known.all()
    found = checks(CROWD, WORTH, 0)
    # Thing 0 wins 1 and .5 (spread .25), thing 1 wins 0 and 1 (.5), thing 2 never.
    assert [found[name][0] for name in ("agreement", "spread", "odd ones", "wins")] == [0.75, 0.25, 0, 0.25]


def test_couples_by_hand():
    """Both decided 0 against 1 differently, and 0 against 2 alike; nobody is a couple with themselves, whoever is drawn twice."""
    found = couples(CROWD, 3, 0)
    assert found.shared[0, 1] == 2 and found.differed[0, 1] == 1 and found.figures(np.array([0, 1]))[0] == 0.5
    assert found.figures(np.array([0, 0, 1]))[0] == 0.5


@pytest.mark.parametrize(("opposed", "persists"), [(True, 0.5), (False, 0.0)])
def test_what_persists_in_couples(opposed, persists):
    """Two camps that want the opposite differ in all pairs or in none, .5 around one half; of people who throw coins nothing persists."""
    rng = np.random.default_rng(0)
    rater = np.repeat(np.arange(60), 190)
    a, b = (np.tile(side, 60) for side in np.triu_indices(20, 1))
    won = (rater % 2).astype(float) if opposed else rng.integers(2, size=len(a)).astype(float)
    value, low, high = checks(Crowd(rater, a, b, won, None), np.zeros(20), 0)["of it in couples"]
    assert value == pytest.approx(persists, abs=0.02) and low <= value <= high + 0.02


def test_recall_of_rare_tastes_by_hand():
    """One of ten is far off, at 100, with its fifth nearest 96 away: a crowd with somebody at 90 has it, one of people near 0 has not."""
    unseen = np.array([[float(i)] for i in range(9)] + [[100.0]])
    assert rare_recall(unseen, np.array([[90.0]]), 0)[0] == 1
    assert rare_recall(unseen, np.array([[0.0], [3.0]]), 0)[0] == 0


def test_drawn_ratings_have_the_populations_law_on_the_grid():
    model = ItemModel(np.array([0.5]), np.array([[1.0]]), np.array([0.5]), 10.0)
    people = 20_000
    asked = Ratings(np.arange(people), np.zeros(people, np.int64), np.zeros(people))
    found = drawn_ratings(model, asked, people, np.linspace(-20, 20, 4001), np.random.default_rng(0)).value
    assert found.mean() == pytest.approx(0.5, abs=0.03) and found.var() == pytest.approx(1 + 0.5 * 10 / 8, rel=0.05)
    assert set(drawn_ratings(model, asked, people, np.array([-1.0, 1.0]), np.random.default_rng(0)).value) == {-1.0, 1.0}
    assert set(drawn_ratings(model, asked, people, np.array([3.0]), np.random.default_rng(0)).value) == {3.0}


def test_answers_of_two_kinds_are_comparisons_with_a_threshold():
    found = against_threshold(Ratings(np.array([0, 0, 1]), np.array([4, 2, 4]), np.array([-1.0, 1.0, 1.0])), 7)
    assert found.a.tolist() == [4, 2, 4] and found.b.tolist() == [7, 7, 7] and found.won.tolist() == [0, 1, 1]


def test_fictitious_people_of_two_answers_are_like_unseen_ones(tmp_path, monkeypatch):
    """People who like what they like by taste and a threshold of their own: twins agree and differ as they do, by the command."""
    few_rivals(monkeypatch)
    rng = np.random.default_rng(0)
    people, items = 500, 30
    rater, item = np.repeat(np.arange(people), items), np.tile(np.arange(items), people)
    worth = 1.5 * rng.standard_normal(items)[item] + rng.standard_normal(people)[rater]
    worth = worth + 1.2 * rng.standard_normal(people)[rater] * rng.standard_normal(items)[item]
    vote = np.where(rng.random(len(rater)) < 1 / (1 + np.exp(-worth)), "yes", "no")
    half = rng.random(len(rater)) < 0.3
    split = np.where(rater >= 300, np.where(half, "unseen_query", "unseen_support"), np.where(half, "test", "train"))
    pd.DataFrame({"rater_id": rater, "item": item, "rating": vote, "split": split}).to_csv(tmp_path / "votes.csv", index=False)
    succeeds("bench", "raters", tmp_path / "votes.csv", "--value", "yes=1", "--value", "no=0", "--people", "--out", tmp_path / "found.json")
    rows = {row["crowd"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    for check, near in (("agreement", 0.025), ("spread", 0.025), ("two differ", 0.03)):
        assert rows["fictitious people"][check][0] == pytest.approx(rows["unseen people"][check][0], abs=near), check


def test_drawn_comparisons_persist_in_a_person():
    """All taste and no chance: a person answers the same pair the same way, and half of them prefer each side."""
    model = PairModel(np.array([[0.0, 50.0], [0.0, 0.0]]), np.array([0.0, 1.0, 0.0]), np.diag([1e-6, 1e-6, 1.0]))
    rater = np.repeat(np.arange(2000), 2)
    asked = Comparisons(rater, np.zeros(4000, np.int64), np.ones(4000, np.int64), np.zeros(4000), np.zeros((4000, 0)))
    won = drawn_comparisons(model, asked, 2000, np.random.default_rng(0)).won.reshape(2000, 2)
    assert (won[:, 0] == won[:, 1]).mean() > 0.97 and won.mean() == pytest.approx(0.5, abs=0.03)


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    """Two tastes; those without tastes agree too much alike."""
    monkeypatch.setattr("raterhf.bench.people.RANK", 4)
    few_rivals(monkeypatch)
    rng = np.random.default_rng(0)
    people, items = 300, 20
    taste, loading, mean = rng.standard_normal((people, 2)), rng.standard_normal((2, items)), rng.standard_normal(items)
    value = mean + taste @ loading + 0.5 * rng.standard_normal((people, items))
    rows = [
        (f"r{r}", i, value[r, i], ("train" if i % 4 else "test") if r < 200 else ("unseen_support" if i % 2 else "unseen_query"))
        for r in range(people) for i in range(items)
    ]  # fmt: skip
    pd.DataFrame(rows, columns=["rater_id", "item", "rating", "split"]).to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


def test_people_drawn_from_the_population_are_like_unseen_ones(ratings, tmp_path):
    pd.read_csv(ratings).assign(split=lambda f: f.split.replace("test", "train")).to_csv(ratings, index=False)
    frame = pd.read_csv(ratings)
    frame.loc[frame.index[:200], "split"] = "test"
    frame.to_csv(ratings, index=False)
    shown = succeeds("bench", "raters", ratings, "--people", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    at = {row["crowd"]: row for row in found["rows"]}
    real, drawn, without = at["unseen people"], at["fictitious people"], at["fictitious, without tastes"]
    for name in ("agreement", "spread", "odd ones", "wins"):
        assert drawn[name][0] == pytest.approx(real[name][0], abs=0.05), name
    assert without["spread"][0] < 0.7 * real["spread"][0] and "fictitious twin" in shown
    assert drawn["rarest tenth"][0] > without["rarest tenth"][0] - 0.2 and at["known people"]["people"] == 100


def test_comparisons_too(tmp_path, monkeypatch):
    monkeypatch.setattr("raterhf.bench.people.TASTES", 2)
    few_rivals(monkeypatch)
    monkeypatch.setattr("raterhf.bench.people.PRECISIONS", (4.0,))
    rows, _ = simulated(120, 40)
    split = np.where(rows.rater >= 80, np.where(np.arange(len(rows)) % 2, "unseen_support", "unseen_query"), "train")
    split[:50] = "test"
    frame = {"rater_id": rows.rater, "a": rows.a, "b": rows.b, "label": (2 * rows.won - 1).astype(int), "split": split}
    pd.DataFrame(frame).to_csv(tmp_path / "pairs.csv", index=False)
    succeeds("bench", "raters", tmp_path / "pairs.csv", "--people", "--out", tmp_path / "found.json")
    at = {row["crowd"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert at["fictitious people"]["agreement"][0] == pytest.approx(at["unseen people"]["agreement"][0], abs=0.07)
    assert at["fictitious people"]["people"] == 40


def test_what_cannot_be_compared(ratings):
    fails("bench", "raters", ratings, "--people", "--margin", 1, says="--people compares crowds and tells no pairs apart, and --margin")
    frame = pd.read_csv(ratings)
    frame[frame.split.isin(("train", "test"))].to_csv(ratings, index=False)
    fails("bench", "raters", ratings, "--people", says="0 unseen people (split unseen_support, unseen_query) are too few")
