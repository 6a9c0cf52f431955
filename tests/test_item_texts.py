"""Items that nobody rated, by their text: features and regression by hand, and the table on simulated people."""

import json

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds

from raterhf.evaluation.metrics.writing import style
from raterhf.raters.item_texts import kernels, predict


def test_style_by_hand():
    """Two sentences of 2 and 3 words, one question mark, one capital in five words, "you" once."""
    found = style(["Do you? no it is."])[0]
    assert len(found) == 16
    assert found[:3] == pytest.approx([np.log(5), 11 / 5, np.log(5 / 2)])
    assert found[5:9].tolist() == [0.5, 0, 0, 0] and found[9:12] == pytest.approx([1 / 5, 0, 1])
    assert found[12:].tolist() == [0, 1 / 5, 0, 0]
    assert np.isfinite(style(["", "?!", "\n"])).all()


def test_kernels_by_hand():
    """One feature, -1 and 1 after centring: inner products 1 and -1, squared distance 4."""
    found = kernels([np.array([[3.0], [5.0]])])
    assert found[0] == pytest.approx(np.array([[1, -1], [-1, 1]]), abs=1e-6)
    assert found[1] == pytest.approx(np.array([[1, np.exp(-2)], [np.exp(-2), 1]]), abs=1e-6)


def test_what_features_tell_is_carried_over_and_noise_is_not():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 4))
    values = np.stack([3 + features @ [2.0, 0, 0, -1.0], 5 + rng.standard_normal(60)], 1)
    rated = np.arange(45)
    kernel = kernels([features])
    told = predict(kernel, rated, values[rated, :1])[45:, 0]
    assert np.abs(told - values[45:, 0]).max() < 0.2
    nothing = predict(kernel, rated, values[rated, 1:])[45:, 0]
    assert np.abs(nothing - values[rated, 1].mean()).max() < 0.7


@pytest.fixture
def table(tmp_path, monkeypatch):
    """200 people, 40 texts: everybody likes long ones, people differ about questions."""
    monkeypatch.setattr("raterhf.bench.new_items.FACTORS", 4)
    rng = np.random.default_rng(0)
    length, asked = rng.integers(3, 40, 40), rng.integers(0, 6, 40)
    texts = [" ".join(["word"] * n) + "." + " eh?" * m for n, m in zip(length, asked)]
    worth = style(texts)
    worth = (worth - worth.mean(0)) / (worth.std(0) + 1e-9)
    taste = rng.standard_normal(200)
    value = worth[:, 0] * 0.5 + taste[:, None] * worth[:, 5] + rng.standard_normal((200, 40))
    rater, item = np.nonzero(rng.random((200, 40)) < 0.6)
    split = np.where(rng.random(len(rater)) < 0.3, "test", "train")
    frame = pd.DataFrame({"rater_id": rater, "item": item, "text": np.array(texts)[item], "rating": value[rater, item], "split": split})
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


def test_the_table_of_new_items(table, tmp_path):
    succeeds("bench", "raters", table, "--text", "text", "--margin", 1, "--out", tmp_path / "found.json")
    rows = {row["model"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert rows["nobody"]["accuracy"] > 0.55 and rows["raters as unknowns"]["gain_interval"][0] > 0.05
    assert rows["somebody else's taste"]["gain"] < 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--encoder", "x"), "--encoder x reads texts; name their column with --text"),
        (("--text", "words"), "no column words"),
        (("--text", "text", "--encoder", "/nowhere"), "model /nowhere"),
        (("--text", "text", "--seeds", 2), "and --seeds does not go with it"),
        (("--text", "text", "--margin", 1, "--margin", 2), "and --margin twice does not go with it"),
    ],
)
def test_what_does_not_go_together(table, options, says):
    fails("bench", "raters", table, *options, says=says)


def test_too_few_items(table):
    frame = pd.read_csv(table)
    frame[frame["item"] < 20].to_csv(table, index=False)
    fails("bench", "raters", table, "--text", "text", says="20 items are too few to learn what their texts say; give 25 or more")
