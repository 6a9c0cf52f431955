"""The factor model of ratings, and the table of anchors that it gives: by hand, and on simulated people."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds
from tables import few_rivals

from raterhf.bench.raters import differing, first_rows, nobody, tell
from raterhf.bench.told import Told, fit_scale, summary, together
from raterhf.raters.items import ItemModel, Ratings, Tastes, fit_items, infer_tastes, shuffled


def ratings(rows: list[tuple]) -> Ratings:
    return Ratings(*(np.array(column) for column in zip(*rows)))


def simulated(raters: int, items: int, nu: float = np.inf, seed: int = 0) -> tuple[Ratings, np.ndarray, np.ndarray]:
    """Two factors, half of all ratings there; the tastes and the steadiness that made them."""
    rng = np.random.default_rng(seed)
    taste, loading, mean = rng.standard_normal((raters, 2)), rng.standard_normal((items, 2)), rng.standard_normal(items)
    steadiness = rng.gamma(nu / 2, 2 / nu, raters) if np.isfinite(nu) else np.ones(raters)
    value = mean + taste @ loading.T + rng.standard_normal((raters, items)) / np.sqrt(steadiness)[:, None]
    rater, item = np.nonzero(rng.random((raters, items)) < 0.5)
    return Ratings(rater, item, value[rater, item]), taste, steadiness


ONE = ItemModel(np.array([1.0, 0.0]), np.array([[2.0], [1.0]]), np.array([4.0, 1.0]), np.inf)


def test_a_taste_by_hand():
    """Precision 1 + 2 * 2 / 4 + 1 * 1 / 1 = 3; 2 / 4 (3 - 1) + 1 (2 - 0) = 3, so the mean is 1. Who rated nothing has the prior."""
    found = infer_tastes(ONE, ratings([(0, 0, 3.0), (0, 1, 2.0)]), 2)
    assert found.mean == pytest.approx(np.array([[1.0], [0.0]])) and found.covariance == pytest.approx(np.array([[[1 / 3]], [[1.0]]]))


def test_nobody_takes_what_people_differ_by_for_noise():
    assert nobody(ONE).noise == pytest.approx([8.0, 2.0]) and not nobody(ONE).loading.any()


def test_pairs_by_hand():
    """Scores 1 + 2 z and z at z = 1: 3 and 1; the gap's variance is (2 - 1)^2 / 3 + 4 + 1."""
    tastes = Tastes(np.ones((1, 1)), np.full((1, 1, 1), 1 / 3), np.ones(1))
    for value, sign in (((5.0, 2.0), 1), ((2.0, 5.0), -1)):
        held = ratings([(0, 0, value[0]), (0, 1, value[1])])
        found = tell(ONE, tastes, differing(held, np.zeros(2, np.int64), 0.0))
        assert found.rater.tolist() == [0] and found.margin == pytest.approx([sign * 2 / math.sqrt(16 / 3)])
        assert not len(differing(held, np.zeros(2, np.int64), 3.0).high)  # further apart than 3
        assert not len(differing(held, np.arange(2), 0.0).high)  # not within one thing


def test_every_two_that_differ_are_pairs():
    """Of rater 0 three ratings 1, 2, 2 are two pairs, of rater 1 a rating alone is none."""
    found = differing(ratings([(0, 0, 1.0), (1, 0, 5.0), (0, 1, 2.0), (0, 2, 2.0)]), np.zeros(4, np.int64), 0.0)
    assert sorted(zip(found.high.tolist(), found.low.tolist())) == [(2, 0), (3, 0)]


def test_figures_of_a_row_by_hand():
    """Two of three right, a guess beside them, in one person's pairs; the floor had one right and three guesses."""
    told, floor = Told(np.zeros(4, np.int64), np.array([1.0, 2.0, -1.0, 0.0])), Told(np.zeros(4, np.int64), np.array([1.0, 0, 0, 0]))
    found = summary(told, floor, 0)
    assert (found["accuracy"], found["gain"], found["pairs"], found["raters"]) == (0.625, 0.0, 4, 1)
    assert found["nats"] == pytest.approx(
        -(math.log1p(math.exp(-1)) + math.log1p(math.exp(-2)) + math.log1p(math.e) + math.log(2)) / 4, abs=1e-4
    )
    assert summary(together([told, told]), together([floor, floor]), 0, orders=2) == found


def test_the_scale_is_the_likeliest():
    """Three of four right at a margin of 2: log-odds of log 3."""
    assert fit_scale(Told(np.zeros(4, np.int64), np.array([2.0, 2.0, 2.0, -2.0]))) == pytest.approx(math.log(3) / 2, rel=1e-3)


def test_what_is_fitted_tells_who_people_are():
    """Intervals for what a person thinks of items they did not rate hold what they promise."""
    known, taste, _ = simulated(400, 40)
    kept = np.random.default_rng(1).random(len(known)) < 0.2
    train, held = known.rows(np.flatnonzero(~kept)), known.rows(np.flatnonzero(kept))
    model = fit_items(train, 400, 40, 6)
    tastes = infer_tastes(model, train, 400)
    loading = model.loading[held.item]
    guess = model.mean[held.item] + (loading * tastes.mean[held.rater]).sum(1)
    spread = np.sqrt(np.einsum("nk,nkl,nl->n", loading, tastes.covariance[held.rater], loading) + model.noise[held.item])
    assert 0.85 <= (np.abs(held.value - guess) < 1.645 * spread).mean() <= 0.95
    assert model.noise.mean() == pytest.approx(1, abs=0.15)
    explained = np.linalg.lstsq(tastes.mean, taste, rcond=None)[0]
    assert ((tastes.mean @ explained - taste) ** 2).mean() < 0.15
    widths = (model.loading**2).sum(0)  # of six factors two are there
    assert np.sort(widths)[-2:].sum() > 0.8 * widths.sum()


def test_careless_raters_are_found():
    known, _, steadiness = simulated(400, 60, nu=3.0)
    found = infer_tastes(fit_items(known, 400, 60, 4, nu=5.0), known, 400).steadiness
    assert np.corrcoef(np.log(found), np.log(steadiness))[0, 1] > 0.8


def test_shuffled_keeps_items_and_loses_people():
    known, _, _ = simulated(50, 20)
    other = shuffled(known, 0)
    assert np.array_equal(other.item, known.item) and np.array_equal(other.value, known.value)
    for item in range(20):
        rows = known.item == item
        assert sorted(other.rater[rows]) == sorted(known.rater[rows])
    assert (other.rater != known.rater).mean() > 0.9


def test_first_ratings_hold_those_of_fewer():
    known, _, _ = simulated(30, 20)
    few, more = (set(first_rows(known.rater, n, 3).tolist()) for n in (2, 5))
    assert few < more and np.bincount(known.rater[list(few)]).tolist() == [2] * 30 and not len(first_rows(known.rater, 0, 3))


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Ratings of 300 simulated people as a file, 100 of them unseen; item 0 is in no train row."""
    monkeypatch.setattr("raterhf.bench.raters.RANK", 6)
    monkeypatch.setattr("raterhf.bench.told.ORDERS", 2)
    few_rivals(monkeypatch)
    known, _, _ = simulated(300, 30)
    rng = np.random.default_rng(0)
    unseen, second = known.rater >= 200, rng.random(len(known)) < 0.4
    split = np.where(unseen, np.where(second, "unseen_query", "unseen_support"), np.where(second | (known.item == 0), "test", "train"))
    frame = pd.DataFrame({"rater_id": [f"r{i}" for i in known.rater], "joke": known.item, "rating": known.value, "split": split})
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


def test_the_table_of_anchors(table, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # narrower, names fold
    shown = succeeds("bench", "raters", table, "--column", "item=joke", "--margin", 0, "--margin", 1, "--out", tmp_path / "found.json")
    assert "raters as unknowns" in shown and "of items that nobody rated in train, and are left out" in shown
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    at = {(row["split"], row.get("margin", row.get("labels")), row["model"]): row for row in rows}
    ours, floor, lost = (at["test", 0.0, name] for name in ("raters as unknowns", "nobody", "IDs shuffled"))
    assert ours["gain_interval"][0] > 0.05 and ours["nats"] > floor["nats"] and abs(lost["gain"]) < 0.03
    assert at["unseen", 0, "raters as unknowns"]["accuracy"] == pytest.approx(at["unseen", 0, "nobody"]["accuracy"], abs=0.01)
    assert at["unseen", 10, "raters as unknowns"]["accuracy"] > at["unseen", 1, "raters as unknowns"]["accuracy"] + 0.02
    assert floor["interval"][0] < floor["accuracy"] < floor["interval"][1]


def test_a_model_of_the_table_alone(table, tmp_path, monkeypatch):
    """The same figures as beside all others; of a person whose ID was never read it says what nobody says."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = succeeds("bench", "raters", table, "--column", "item=joke", "--model", "literal text IDs", "--out", tmp_path / "found.json")
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert {row["model"] for row in rows} == {"nobody", "literal text IDs"} and "literal text IDs" in shown
    assert {row["gain"] for row in rows if row["split"] == "unseen"} == {0.0}
    fails("bench", "raters", table, "--column", "item=joke", "--model", "nobdy", says=("'nobdy' is none of the table's", "16 factors"))


def test_pairs_of_another_file_are_told_apart(table, tmp_path):
    """Item 3 against 5 wherever both are test ratings; a pair whose ratings are not there is an error that names its row."""
    frame = pd.read_csv(table)
    held = frame[(frame.split != "train") & frame.joke.isin([3, 5])].pivot_table(
        index=["rater_id", "split"], columns="joke", values="rating"
    )
    held = held.dropna().reset_index()
    pairs = pd.DataFrame(
        {
            "rater_id": held.rater_id,
            "chosen": np.where(held[3] > held[5], 3, 5),
            "rejected": np.where(held[3] > held[5], 5, 3),
            "split": held.split,
        }
    )
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    options = ("bench", "raters", table, "--column", "item=joke", "--pairs", tmp_path / "pairs.csv")
    succeeds(*options, "--out", tmp_path / "found.json")
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    test = next(row for row in rows if row["split"] == "test" and row["model"] == "raters as unknowns")
    assert test["pairs"] == test["raters"] == (pairs.split == "test").sum()
    pairs.assign(chosen=29).to_csv(tmp_path / "pairs.csv", index=False)
    fails(*options, says="rating of the chosen one by this rater; leave the pair out")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "no column item; there are rater_id, joke, rating, split: map names with --column"),
        (
            ("--column", "joke=item"),
            "--column joke=...: there is no such column of ours; there are rater_id, item, rating, split, chosen, rejected",
        ),
        (("--column", "joke"), "'joke' is no NAME=VALUE"),
        (("--column", "item=joke", "--value", "JOY=much"), "give WORD=NUMBER, such as JOY=1"),
        (("--column", "item=joke", "--column", "rating=split"), "words are given numbers with --value"),
        (("--column", "item=joke", "--column", "split=joke"), "no row has split train"),
    ],
)
def test_tables_that_cannot_be_made(table, options, says):
    fails("bench", "raters", table, *options, says=says)
