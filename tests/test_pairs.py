"""Raters from comparisons: by hand, on simulated people, and the ladder of `bench raters` on a file of comparisons."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds
from tables import few_rivals

from raterhf.bench.comparisons import KEPT_ITEMS, read_comparisons, strangers, tell_pairs
from raterhf.raters.pairs import Comparisons, PairModel, People, fit_pairs, infer_people, kept_apart, margins


def simulated(raters: int = 200, each: int = 60, items: int = 20, seed: int = 0) -> tuple[Comparisons, np.ndarray]:
    """One taste, care between 0 (careless) and 2, a habit of the longer side; what made them [R, 4]: first, care, taste, habit."""
    rng = np.random.default_rng(seed)
    who = np.stack([0.3 * rng.standard_normal(raters), rng.choice([0.0, 2.0], raters), *rng.standard_normal((2, raters))], 1)
    worth = rng.standard_normal((items, 2))
    rater = np.repeat(np.arange(raters), each)
    a, b = rng.integers(items, size=len(rater)), rng.integers(items - 1, size=len(rater))
    b, apart = b + (b >= a), rng.standard_normal((len(rater), 1))
    design = np.concatenate([np.ones((len(rater), 1)), worth[a] - worth[b], apart], 1)
    won = rng.random(len(rater)) < 1 / (1 + np.exp(-(design * who[rater]).sum(1)))
    return Comparisons(rater, a, b, won.astype(float), apart), who


def one(won: list[float]) -> Comparisons:
    n = len(won)
    return Comparisons(np.zeros(n, np.int64), np.zeros(n, np.int64), np.ones(n, np.int64), np.array(won), np.zeros((n, 0)))


MODEL = PairModel(np.array([[2.0], [0.0]]), np.array([0.0, 1.0]), np.diag([1e-9, 1.0]))


def test_a_rater_without_comparisons_is_the_population():
    found = infer_people(MODEL, one([]), 2)
    assert found.mean == pytest.approx(np.tile(MODEL.mean, (2, 1))) and found.covariance[1] == pytest.approx(MODEL.covariance)


def test_ties_are_half_a_win_of_each_side():
    """A tie where worths say 2: care goes down, as it does by a win and a loss together, which say the same twice."""
    tie, both = infer_people(MODEL, one([0.5, 0.5]), 1), infer_people(MODEL, one([1.0, 0.0]), 1)
    assert tie.mean == pytest.approx(both.mean) and tie.mean[0, 1] < 0.6


def test_one_comparison_against_the_integral():
    """Care N(1, 1), one win at a gap of 2: the mean of the posterior by sums over a grid."""
    care = np.linspace(-6, 8, 4001)
    density = np.exp(-((care - 1) ** 2) / 2) / (1 + np.exp(-2 * care))
    assert infer_people(MODEL, one([1.0]), 1).mean[0, 1] == pytest.approx((care * density).sum() / density.sum(), abs=0.06)


@pytest.mark.parametrize("each", [3, 12, 60])
def test_ninety_per_cent_intervals_hold_ninety_per_cent(each):
    """Care and two tastes of 1,500 people by few comparisons or many: the interval of every number."""
    rng = np.random.default_rng(each)
    model = PairModel(2 * rng.standard_normal((12, 3)), np.array([0.0, 1.0, 0.0, 0.0]), np.diag([0.1, 0.5, 1.0, 1.0]))
    who = model.mean + rng.standard_normal((1500, 4)) * np.sqrt(np.diag(model.covariance))
    rater, a = np.repeat(np.arange(1500), each), rng.integers(12, size=1500 * each)
    rows = Comparisons(rater, a, (a + rng.integers(1, 12, len(a))) % 12, np.zeros(len(a)), np.zeros((len(a), 0)))
    chance = 1 / (1 + np.exp(-(model.design(rows) * who[rater]).sum(1)))
    rows = replace(rows, won=(rng.random(len(a)) < chance).astype(float))
    found = infer_people(model, rows, 1500)
    apart = np.abs(found.mean - who) / np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert ((0.85 < (apart < 1.645).mean(0)) & ((apart < 1.645).mean(0) < 0.95)).all()


def test_what_is_unsure_draws_margins_to_nought():
    """Log-odds 2 care with care 1 +- 1: 2 / sqrt(1 + pi / 8 * 4)."""
    sure = People(np.array([[0.0, 1.0]]), np.zeros((1, 2, 2)))
    unsure = People(sure.mean, np.diag([0.0, 1.0])[None])
    assert margins(MODEL, sure, one([1.0])) == pytest.approx([2.0])
    assert margins(MODEL, unsure, one([1.0])) == pytest.approx([2 / np.sqrt(1 + np.pi / 2)])
    assert tell_pairs(MODEL, sure, one([0.0, 0.5, 1.0])).margin == pytest.approx([-2.0, 2.0])  # a tie is not told


def test_care_habit_and_taste_are_told_apart():
    rows, who = simulated()
    model = fit_pairs(rows, 200, 20, 2, precision=4.0)
    found = infer_people(model, rows, 200).mean
    assert np.corrcoef(found[:, 1], who[:, 1])[0, 1] > 0.85
    assert np.corrcoef(found[:, 4], who[:, 3])[0, 1] > 0.85
    explained = np.linalg.lstsq(found[:, 2:4], who[:, 2], rcond=None)[0]
    assert np.corrcoef(found[:, 2:4] @ explained, who[:, 2])[0, 1] > 0.8
    assert found[:, 1].mean() == pytest.approx(1, abs=0.1)


def test_the_control_keeps_items_and_labels():
    rows, _ = simulated(20)
    other = strangers(rows, 0)
    assert np.array_equal(other.won, rows.won) and sorted(other.rater) == sorted(rows.rater) and (other.rater != rows.rater).mean() > 0.9


def test_what_settings_are_chosen_by_has_no_vote_of_what_is_fitted():
    rows, _ = simulated(50)
    part, held = kept_apart(rows, 20, KEPT_ITEMS, 0)
    seen = {(r, i) for r, a, b in zip(part.rater, part.a, part.b) for i in (a, b)}
    assert len(held) > 30 and len(part) > 1500
    assert not seen & {(r, i) for r, a, b in zip(held.rater, held.a, held.b) for i in (a, b)}


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr("raterhf.bench.comparisons.TASTES", 2)
    monkeypatch.setattr("raterhf.bench.told.ORDERS", 2)
    few_rivals(monkeypatch)
    rows, _ = simulated()
    split = np.where(np.random.default_rng(1).random(len(rows)) < 0.3, "test", "train")
    unseen = rows.rater >= 150
    split = np.where(unseen, np.where(split == "test", "unseen_query", "unseen_support"), split)
    texts = {"a_text": ["x" * 20 for _ in rows.a], "b_text": ["x" * max(1, int(20 * np.exp(-x))) for x in rows.apart[:, 0]]}
    frame = pd.DataFrame(
        {"rater_id": rows.rater, "a": rows.a, "b": rows.b, "label": (2 * rows.won - 1).astype(int), **texts, "split": split}
    )
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path / "pairs.csv"


def test_the_ladder(table, tmp_path):
    shown = succeeds("bench", "raters", table, "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    at = {(row["split"], row.get("labels"), row["model"]): row for row in found["rows"]}
    gains = [at["test", None, name]["gain"] for name in ("nobody", "+ habits", "+ care", "+ tastes")]
    assert gains == sorted(gains) and gains[0] == 0 and gains[-1] > gains[-2] + 0.02 and gains[1] > 0.02
    assert at["test", None, "IDs shuffled"]["gain"] < 0.02
    assert at["unseen", 20, "+ tastes"]["accuracy"] > at["unseen", 1, "+ tastes"]["accuracy"] + 0.02
    assert found["ladder"] == [{"seed": 0, "habits": gains[1], "care": gains[2], "tastes": gains[3]}]
    assert "of the gain" in shown


def test_chosen_and_rejected_are_put_in_an_order_that_tells_nothing(tmp_path):
    frame = pd.DataFrame({"rater_id": ["r"] * 400, "chosen": ["x"] * 400, "rejected": ["y"] * 400, "split": ["train", "test"] * 200})
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    parts, items, _ = read_comparisons(str(tmp_path / "pairs.csv"), {}, 0)
    assert items == 2 and 0.4 < parts["train"].won.mean() < 0.6
    assert ((parts["train"].a == 0) == (parts["train"].won == 1)).all()  # item 0 is x


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"label": 2}, (), "row 1: label '2' is not 1 (a is better), -1 (b is) or 0 (a tie)"),
        ({}, ("--margin", 1), "holds comparisons, and --margin speaks of ratings; leave it out"),
        ({"split": "test"}, (), "no row has split train"),
    ],
)
def test_comparisons_that_cannot_be_read(table, change, options, says):
    pd.read_csv(table).assign(**change).to_csv(table, index=False)
    fails("bench", "raters", table, *options, says=says)


def test_whole_pairs_are_kept_back_where_items_are_met_once():
    """Of pairs that have nothing in common a fifth is kept back and the rest is fitted; else a twenty-fifth, and a third is in neither."""
    n = 2000
    rows = Comparisons(np.arange(n) % 10, np.arange(n), n + np.arange(n), np.ones(n), np.zeros((n, 0)))
    part, held = kept_apart(rows, 2 * n, 0.2, 0, whole=True)
    assert len(part) + len(held) == n and len(held) == pytest.approx(n / 5, rel=0.15)
    part, held = kept_apart(rows, 2 * n, 0.2, 0)
    assert len(held) == pytest.approx(n / 25, rel=0.3) and len(part) == pytest.approx(0.64 * n, rel=0.1)
