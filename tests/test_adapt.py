"""People who come after training: fitted to their labels, saved as known raters of every stage, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_run import CONFIG, fails, rows_of, save_run, succeeds

import raterhf
from raterhf.data.dropped import record_dropped
from raterhf.data.labels import read_labels
from raterhf.data.renderer import Renderer
from raterhf.engine.margins import margins_of
from raterhf.engine.newcomers import weights
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.models.checkpoint import load_policy, load_pool, load_reward, replace_pool
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch

PROMPT = "Roll a die."


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return save_run(tmp_path_factory.mktemp("adapt") / "tiny", "embedding")


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "tiny")


def comparisons(path: Path, rows: list[tuple], rater: str | None = None) -> Path:
    """A CSV file of a, b, label on one prompt."""
    names = ["prompt", "a", "b", "label"] + ["rater_id"] * (rater is not None)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *([PROMPT, *row] + [rater] * (rater is not None) for row in rows)])
    return path


def liked(run: Path, better: str, worse: str, rater: str) -> float:
    scores = raterhf.open(run).score([(PROMPT, better), (PROMPT, worse)], rater).to_numpy()[0]
    return scores[0] - scores[1]


def test_a_new_person_is_known_to_every_stage(run, tmp_path):
    before = {stage: load_pool(run / stage) for stage in ("reward", "sft", "policy")}
    labels = comparisons(tmp_path / "me.csv", [("6", "1", 1)] * 16)
    found = rows_of(succeeds("adapt", run, labels, "--id", "me", "--group", "south"))
    assert [(one["rater"], one["labels"]) for one in found] == [("me", 16)] and 0 < found[0]["unknown"] < 1
    for stage, pool in before.items():
        after = load_pool(run / stage)
        assert after.known == [*pool.known, "me"] and np.array_equal(after.vectors[:3], pool.vectors)
        assert after.groups == pool.groups | {"me": "south"} and list(after.covariances) == ["me"]
        assert list(after.populations) == list(pool.populations)
    for load, stage in ((load_policy, "sft"), (load_policy, "policy"), (load_reward, "reward")):
        load(run / stage)  # what binds the files holds
    average = raterhf.open(run).raters.populations["group:south"].means[0]
    assert liked(run, "6", "1", "me") > liked_by(raterhf.open(run), "6", "1", average)
    assert rows_of(succeeds("sample", run, "--prompt", PROMPT, "--rater", "me"))[0]["rater"] == "me"


def liked_by(opened: raterhf.Run, better: str, worse: str, taste: np.ndarray) -> float:
    """What somebody with this taste thinks of one text against another."""
    scorer, renderer = opened._scorer, opened._jury.renderer
    pairs = [renderer.example(PROMPT, text) for text in (better, worse)]
    with torch.no_grad():
        scores = scorer.matrix(pairs, RaterBatch.people(torch.tensor(taste[None], dtype=torch.float32)))[0]
    return float(scores[0] - scores[1])


def test_the_same_labels_are_the_same_person(run, tmp_path):
    labels = comparisons(tmp_path / "me.csv", [("6", "1", 1), ("2", "3", -1), ("4", "5", 0)])
    opened = raterhf.open(run)
    first, second = opened.fit_rater(labels, "me")[0], opened.fit_rater(pd.read_csv(labels, dtype={"a": str, "b": str}), "me")[0]
    assert np.array_equal(first.mean, second.mean) and first.labels == 3
    assert "me" not in opened.raters.index  # nothing is saved before it is added
    opened.add_raters([first])
    assert "me" in opened.raters.index


def test_without_labels_a_person_is_the_population(run):
    opened = raterhf.open(run)
    one = opened.fit_rater(None, "me")[0]
    population = opened.raters.population
    assert one.labels == 0 and np.allclose(one.taste.means, population.means) and np.allclose(one.covariance, population.covariance())


def test_labels_that_come_later_are_added(run, tmp_path):
    first = comparisons(tmp_path / "first.csv", [("6", "1", 1)] * 4)
    later = comparisons(tmp_path / "later.csv", [("5", "2", -1)] * 4)
    both = comparisons(tmp_path / "both.csv", [("6", "1", 1)] * 4 + [("5", "2", -1)] * 4)
    together = raterhf.open(run).fit_rater(both, "me")[0]
    succeeds("adapt", run, first, "--id", "me")
    fails("adapt", run, later, "--id", "me", says="rater 'me' is known to this run; give --update to add")
    succeeds("adapt", run, later, "--id", "me", "--update")
    after = load_pool(run / "policy")
    assert after.known.count("me") == 1
    assert after.vectors[after.index["me"]] == pytest.approx(
        together.mean, abs=0.1
    )  # taste is read by a net, of which each file is linearised elsewhere
    assert np.allclose(after.covariances["me"], together.covariance, atol=0.1)


def test_several_people_of_a_file(run, tmp_path):
    rows = pd.read_csv(comparisons(tmp_path / "one.csv", [("6", "1", 1)] * 3, "dora"), dtype=str)
    other = rows.assign(rater_id="eve", label="-1")
    pd.concat([rows, other]).to_csv(tmp_path / "two.csv", index=False)
    assert [one["rater"] for one in rows_of(succeeds("adapt", run, tmp_path / "two.csv"))] == ["dora", "eve"]
    assert liked(run, "6", "1", "dora") > liked(run, "6", "1", "eve")
    alone = raterhf.open(run).fit_rater(tmp_path / "one.csv", "me")[0]
    assert load_pool(run / "reward").vectors[-2] == pytest.approx(alone.mean, abs=1e-5)


def test_ratings_count_for_what_they_say_of_order(run, tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(
        "prompt,response,rating\n" + "".join(f"{PROMPT},{face},{rating}\n" for face, rating in zip("123456", (1, 2, 3, 4, 5, 5)))
    )
    one = raterhf.open(run).fit_rater(path, "me")[0]
    assert one.labels == 14  # 15 pairs of 6, of which one is equal
    labels = read_labels(ratings=path, one_rater=True)
    assert weights(labels) == pytest.approx(np.full(14, 5 / 14))


@pytest.mark.parametrize(
    ("rows", "least", "most"),
    [
        ([("6", "1", 1)], 0.5, 1.0),  # one label tells little
        ([("6", "1", 1), ("6", "1", -1)] * 8, 0.0, 1.0),  # contradictory ones tell that nothing is preferred
        ([("nine, which nobody threw", "1", 1)] * 16, 0.0, 1.0),  # a text that no known rater saw is read as any
    ],
)
def test_labels_that_tell_little_or_of_what_nobody_saw(run, tmp_path, rows, least, most):
    opened = raterhf.open(run)
    better, worse, _ = rows[0]
    before = liked_by(opened, better, worse, opened.raters.population.means[0])
    found = rows_of(succeeds("adapt", run, comparisons(tmp_path / "me.csv", rows), "--id", "me"))[0]
    after = liked(run, better, worse, "me")
    assert found["labels"] == len(rows) and least < found["unknown"] < most
    wins = sum(label for _, _, label in rows)
    assert abs(after) <= abs(before) + 0.05 if wins == 0 else after > before


BAD = {
    "a rater of the data": (("--id", "ann"), [("6", "1", 1)], "rater 'ann' is known to this run; give --update"),
    "an update of a rater of the data": (("--id", "ann", "--update"), [("6", "1", 1)], "rater 'ann' was learned in training"),
    "an update of nobody": (("--id", "me", "--update"), [("6", "1", 1)], "rater 'me' is not known to this run, so there is nothing to"),
    "a word of the grammar": (("--id", "new:7"), [("6", "1", 1)], "--id 'new:7' is a word of the rater grammar"),
    "nobody": ((), [("6", "1", 1)], "no column says who judged; give --id NAME"),
    "a text that is too long": (("--id", "me"), [("6", "1 " * 60, 1)], "tokens, the window (model.max_length) 48"),
    "a group that is not there": (("--id", "me", "--group", "east"), [("6", "1", 1)], "group 'east' is not in this run"),
    "a label that is none": (("--id", "me"), [("6", "1", 7)], "label"),
    "no rows": (("--id", "me"), [], "no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_changes_nothing(run, tmp_path, case):
    options, rows, says = BAD[case]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    fails("adapt", run, comparisons(tmp_path / "me.csv", rows), *options, says=says)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_who_was_dropped_does_not_come_back(run, tmp_path):
    record_dropped(run, ["me"])
    fails("adapt", run, comparisons(tmp_path / "me.csv", [("6", "1", 1)]), "--id", "me", says="whom `raterhf raters drop` removed from")


def test_a_fitted_person_can_be_dropped(run, tmp_path):
    succeeds("adapt", run, comparisons(tmp_path / "me.csv", [("6", "1", 1)]), "--id", "me")
    succeeds("raters", "drop", run, "me")
    for stage in ("reward", "policy"):
        assert load_pool(run / stage).covariances == {} and load_pool(run / stage).known == ["ann", "bob", "cy"]


def test_runs_without_vectors_or_of_one_stage(run, tmp_path):
    labels = comparisons(tmp_path / "me.csv", [("6", "1", 1)])
    fails("adapt", save_run(tmp_path / "text", "text"), labels, "--id", "me", says="knows raters by text, which nothing can be fitted to")
    fails("adapt", run / "reward", labels, "--id", "me", says="reward is one stage of")
    assert not load_pool(run / "reward").covariances


def test_a_stage_in_another_space_is_left_out(run, tmp_path, caplog):
    pool = load_pool(run / "policy")
    pool.populations[""] = pool.populations["group:south"]
    replace_pool(run / "policy", pool)
    succeeds("adapt", run, comparisons(tmp_path / "me.csv", [("6", "1", 1)]), "--id", "me")
    assert "me" in load_pool(run / "sft").index and "me" not in load_pool(run / "policy").index


@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix"])
def test_slopes_of_margins_are_how_scores_change(conditioning):
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    torch.manual_seed(0)
    model = RewardModel(build_model(CONFIG, tokenizer, 48, 2).get_decoder(), 2, 2, conditioning).eval()
    render = Renderer(tokenizer, 48).example
    a, b = [render(PROMPT, "6"), render(PROMPT, "3")], [render(PROMPT, "1"), render(PROMPT, "5")]
    margins = margins_of(Scorer(model), a, b, np.array([1, 0]))
    z = np.array([[0.5, -1.0], [0.2, 0.3]])
    value, slope = margins(z)
    scores = (
        Scorer(model).pairs(a + b, RaterBatch.people(torch.tensor(z, dtype=torch.float32)), torch.tensor([1, 0, 1, 0])).detach().numpy()
    )
    assert value == pytest.approx(scores[:2] - scores[2:], abs=1e-5)
    for dimension in range(2):
        step = np.zeros((2, 2))
        step[:, dimension] = 0.02
        change = (margins(z + step)[0] - margins(z - step)[0]) / 0.04
        assert slope[:, dimension] == pytest.approx(change, abs=2e-3)


def test_raters_json_names_who_was_inferred(run, tmp_path):
    succeeds("adapt", run, comparisons(tmp_path / "me.csv", [("6", "1", 1)]), "--id", "me")
    text = json.loads((run / "reward" / "raters.json").read_text())
    assert text["inferred"] == ["me"] and text["ids"][-1] == "me"


def test_python_names_the_remedy(run):
    with pytest.raises(UserError, match="neither labels nor an ID"):
        raterhf.open(run).fit_rater(None)
