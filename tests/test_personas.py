"""`raterhf personas`: clusters that are there are found, with what they like, by hand; saved, they can be asked."""

import json

import numpy as np
import pandas as pd
import pytest
from small_run import CONFIG, fails, one_gaussian, succeeds

from raterhf.errors import UserError
from raterhf.evaluation.personas import Texts, _persona, centred, cluster, contested_by, texts_of
from raterhf.models.checkpoint import save_reward
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.reward import RewardModel
from raterhf.raters.files import load_pool
from raterhf.raters.pool import RaterPool

GROUP = np.array([0, 0, 1, 1])


def two_kinds(each: int = 10) -> np.ndarray:
    """Margins of two kinds of raters, more of the second, who like the opposite of two prompts' texts; with a little noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2 * each + 2, 4))
    return centred(np.concatenate([[[1.0, -1, 1, -1]] * each, [[-1.0, 1, 1, -1]] * (each + 2)]) + noise, GROUP)


def test_margins_are_against_the_prompt():
    assert centred(np.array([[3.0, 1.0, 10.0, 20.0]]), GROUP).tolist() == [[1, -1, -5, 5]]


def test_clusters_are_found_the_largest_first():
    member, tried = cluster(two_kinds(), None, 0)
    assert member.tolist() == [1] * 10 + [0] * 12 and tried[2] > 0.8
    with pytest.raises(UserError, match="no clusters of 8 raters or more are found with --clusters 2"):
        cluster(np.concatenate([two_kinds()[:10], two_kinds()[-2:]]), 2, 0)


def test_what_a_kind_likes_by_hand():
    margins, texts = two_kinds(), Texts(["p", "p", "q", "q"], ["a", "b", "c", "d"], GROUP)
    found = _persona(margins, texts, np.array([1] * 10 + [0] * 12), 1)
    assert found["likes"][0]["text"] == "a" and found["likes"][0]["margin"] == pytest.approx(1, abs=0.1)
    assert found["dislikes"][0]["text"] == "b" and found["dislikes"][0]["others"] == pytest.approx(1, abs=0.1)


def test_what_is_contested_by_hand():
    """Their favourites are a and c: all others like a less than b, and c as they do."""
    member = np.array([1] * 10 + [0] * 12)
    assert contested_by(two_kinds(), GROUP, member, 1, 0) == pytest.approx([0.5, 0.5, 0.5])


def test_texts_are_of_prompts_with_two(monkeypatch):
    rows = pd.DataFrame({"prompt": ["p", "p", "q"], "a": ["a", "a", "c"], "b": ["b", "c", "d"]})
    found = texts_of(rows, 0)
    assert found.answers == ["a", "b", "c", "c", "d"] and found.group.tolist() == [0, 0, 0, 1, 1]
    monkeypatch.setattr("raterhf.evaluation.personas.TEXTS", 2)
    assert len(set(texts_of(rows, 0).prompts)) == 1
    with pytest.raises(UserError, match="no texts to tell personas by"):
        texts_of(rows[:0], 0)


def saved(root, raters: int):
    """A run with a reward model of chance weights, and raters in two clouds."""
    ids = [f"r{i:02}" for i in range(raters)]
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    vectors = (
        np.random.default_rng(0).standard_normal((raters, 2)).astype(np.float32) * 0.1 + np.where(np.arange(raters) % 2, 3, -3)[:, None]
    )
    pool = RaterPool(ids, vectors.astype(np.float32), 0, "embedding", {"sailor": ids[:2]}, {}, {"": one_gaussian(0.0)})
    lm = build_model(CONFIG, tokenizer, 48, 2)
    save_reward(root / "reward", RewardModel(lm.get_decoder(), 2, 2, "head", None), lm, tokenizer, pool, 48, {})
    rows = [
        {"prompt": "Roll a die.", "chosen": str(1 + i % 6), "rejected": str(1 + (i + 1) % 6), "rater_id": ids[i % raters]}
        for i in range(99)
    ]
    pd.DataFrame(rows).to_csv(root / "comparisons.csv", index=False)
    recipe = f"name: tiny\ndata: {{comparisons: {root}/comparisons.csv}}\nmodel: {{max_length: 48}}\nreward: {{steps: 1, lr: 1.0e-3}}\n"
    (root / "reward" / "recipe.resolved.yaml").write_text(recipe)
    return root


def test_personas_of_a_run_can_be_asked_when_they_are_saved(tmp_path):
    run = saved(tmp_path, 20)
    (tmp_path / "answers.csv").write_text("prompt,completion\nRoll a die.,6\n")
    fails("score", run, tmp_path / "answers.csv", "--raters", "persona:kind-1", says="is not in this run")
    shown = succeeds("personas", run, "--clusters", 2, "--save", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [len(one["members"]) for one in found["personas"]] == [10, 10] and "least contested" in shown
    assert {tuple(int(name[1:]) % 2 for name in one["members"]) for one in found["personas"]} == {(0,) * 10, (1,) * 10}
    assert all(0 <= one["reliable"][0] <= 1 for one in found["personas"])
    pool = load_pool(run / "reward")
    assert pool.personas["kind-1"] == found["personas"][0]["members"] and pool.personas["sailor"] == ["r00", "r01"]
    succeeds("score", run, tmp_path / "answers.csv", "--raters", "persona:kind-1")
    mean = pool.populations["persona:kind-1"].means.mean()
    assert abs(abs(mean) - 3) < 0.5 and succeeds("personas", run, "--clusters", 2) == shown


@pytest.mark.parametrize(
    ("raters", "options", "says"), [(9, (), "9 known raters, too few for 2 clusters"), (20, ("--clusters", 4), "too few for 4")]
)
def test_too_few_raters(tmp_path, raters, options, says):
    fails("personas", saved(tmp_path, raters), *options, says=says)


def test_personas_by_a_column(tmp_path):
    """Two shores of ten raters each, of whom one says nothing and one is the only one of a third; they can then be asked by name."""
    run = saved(tmp_path, 20)
    frame = pd.DataFrame({"rater_id": [f"r{i:02}" for i in range(20)], "shore": ["east", "west"] * 10})
    frame.loc[18, "shore"], frame.loc[19, "shore"] = None, "north"
    frame.to_csv(tmp_path / "raters.csv", index=False)
    shown = succeeds("personas", run, "--by", "shore", "--file", tmp_path / "raters.csv", "--save", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert {one["name"]: len(one["members"]) for one in found["personas"]} == {"east": 9, "west": 9} and found["raters"] == 18
    assert "silhouette" not in shown
    assert load_pool(run / "reward").populations["persona:east"].means.mean() == pytest.approx(-3, abs=0.5)
    (tmp_path / "answers.csv").write_text("prompt,completion\nRoll a die.,6\n")
    succeeds("score", run, tmp_path / "answers.csv", "--raters", "persona:west")


def test_a_column_of_the_data(tmp_path):
    run = saved(tmp_path, 20)
    frame = pd.read_csv(tmp_path / "comparisons.csv")
    frame.assign(shore=frame.rater_id.map(lambda name: "east" if int(name[1:]) % 2 else "west")).to_csv(
        tmp_path / "comparisons.csv", index=False
    )
    assert "least contested" in succeeds("personas", run, "--by", "shore")


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ("r00,east\nr00,west", ("--by", "shore"), "rater 'r00' has shore 'east' and 'west'; a rater is in one persona"),
        ("r00,east", ("--by", "coast"), "no file has the columns rater_id and coast"),
        ("r00,east\nr01,west", ("--by", "shore"), "0 value(s) have 8 known raters or more, and two are needed"),
        ("r00,east", ("--by", "shore", "--clusters", 2), "--by shore puts raters together, and --clusters 2 finds"),
        ("r00,east", (), "which column puts raters together? name it with --by"),
    ],
)
def test_columns_that_make_no_personas(tmp_path, rows, options, says):
    (tmp_path / "raters.csv").write_text(f"rater_id,shore\n{rows}\n")
    fails("personas", saved(tmp_path, 20), "--file", tmp_path / "raters.csv", *options, says=says)
