"""Other settings beside the default: the tables of `bench raters --search` on ratings and comparisons."""

import json

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds
from test_items import simulated as rated
from test_pairs import simulated as compared

from raterhf.bench import search


@pytest.fixture
def small(monkeypatch):
    for name, value in {
        "RANKS": (1,),
        "NUS": (np.inf,),
        "RANK": 3,
        "STEADY": (np.inf,),
        "MANY": (1,),
        "WIDTHS": (4.0,),
        "TASTES": 2,
    }.items():
        monkeypatch.setattr(search, name, value)
    monkeypatch.setattr(search, "PRECISIONS", (10.0,))


def searched(path, tmp_path, *options) -> tuple[str, list[dict]]:
    shown = succeeds("bench", "raters", path, "--search", *options, "--out", tmp_path / "found.json")
    return shown, json.loads((tmp_path / "found.json").read_text())["rows"]


def test_ranks_of_ratings(small, tmp_path):
    """Two factors there are: the default of at most three beats one."""
    ratings, _, _ = rated(300, 30)
    split = np.where(np.random.default_rng(0).random(len(ratings)) < 0.3, "test", "train")
    frame = {"rater_id": ratings.rater, "item": ratings.item, "rating": ratings.value, "split": split}
    pd.DataFrame(frame).to_csv(tmp_path / "r.csv", index=False)
    shown, rows = searched(tmp_path / "r.csv", tmp_path)
    assert [(row["settings"]["rank"], row["default"]) for row in rows] == [(3, True), (1, False)]
    assert (
        rows[0]["gain"] == 0
        and rows[1]["gain"] < -0.02
        and rows[1]["accuracy"] == pytest.approx(rows[0]["accuracy"] + rows[1]["gain"], abs=1e-4)
    )
    assert "the default is +0.0000 from the best on what was kept back" in " ".join(shown.split())


def test_tastes_of_comparisons(small, tmp_path):
    rows, _ = compared(80, 40)
    split = np.where(np.random.default_rng(0).random(len(rows)) < 0.3, "test", "train")
    frame = {"rater_id": rows.rater, "a": rows.a, "b": rows.b, "label": (2 * rows.won - 1).astype(int), "split": split}
    pd.DataFrame(frame).to_csv(tmp_path / "p.csv", index=False)
    _, found = searched(tmp_path / "p.csv", tmp_path)
    assert sorted((row["settings"]["tastes"], row["settings"]["precision"]) for row in found) == [(1, 4), (1, 10), (2, 4), (2, 10)]
    assert sum(row["default"] for row in found) == 1
    fails("bench", "raters", tmp_path / "p.csv", "--search", "--seeds", 2, says="and --seeds does not go with it")
    fails("bench", "raters", tmp_path / "p.csv", "--search", "--people", says="and --search does not go with it")
