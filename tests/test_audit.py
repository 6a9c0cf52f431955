"""`raterhf audit`: what it finds on people who were made, that it names nobody without the numbers, and files that tell little."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from small_run import fails, save_run, succeeds
from test_pairs import simulated

from raterhf.evaluation.audit import fitted, people
from raterhf.evaluation.audit.scored import figures

CARELESS = 100  # the first so many of the simulated raters


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fitted, "TASTES", 2)
    monkeypatch.setattr(fitted, "RANK", 3)
    monkeypatch.setattr(fitted, "PRECISIONS", (4.0,))


def compared(path):
    """A file of the simulated comparisons, texts as long as the sides say."""
    rows, who = simulated(60, 60)
    length = np.maximum(2, 60 * np.exp(rows.apart[:, 0] / 2)).astype(int)
    frame = pd.DataFrame(
        {
            "prompt": "Which?", "rater_id": [f"r{r}" for r in rows.rater], "a": [f"thing {i}" for i in rows.a],
            "b": [f"thing {i}" for i in rows.b], "label": (2 * rows.won - 1).astype(int),
        }
    )  # fmt: skip
    assert len(length) == len(frame)
    frame.to_csv(path, index=False)
    return who


def read(folder) -> dict:
    return json.loads((folder / "audit.json").read_text())


def test_comparisons(tmp_path):
    who = compared(tmp_path / "pairs.csv")
    shown = succeeds("audit", tmp_path / "pairs.csv", "--out", tmp_path / "out")
    found = read(tmp_path / "out")["kinds"]["comparisons"]
    whole = found["disagreement"]
    assert sum(whole[name][0] for name in ("taste", "habits", "care", "chance")) == pytest.approx(1, abs=1e-3)
    assert whole["care"][1] > 0.03 and whole["taste"][1] > 0.02 and whole["rate"][1] < found["observed"]["differ"] < whole["rate"][2] + 0.05
    careless = {one["rater"] for one in found["named"]["careless"]}
    true = {f"r{i}" for i in np.flatnonzero(who[:, 1] == 0)}
    assert len(careless & true) > 3 and not careless - true
    assert all(one["value"][2] < people.CARELESS for one in found["named"]["careless"])
    assert len(found["people"]) == 60 and found["dimensions"]["active"] >= 1
    assert "carelessness" in shown and "most apart" in shown and "done:" in shown
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "The map of raters" in page and "<script" not in page and 'src="http' not in page


def test_the_same_seed_gives_the_same_figures(tmp_path):
    compared(tmp_path / "pairs.csv")
    for name in ("one", "two"):
        succeeds("audit", tmp_path / "pairs.csv", "--seed", 3, "--out", tmp_path / name)
    assert (tmp_path / "one" / "audit.json").read_bytes() == (tmp_path / "two" / "audit.json").read_bytes()
    assert (tmp_path / "one" / "audit.html").read_bytes() == (tmp_path / "two" / "audit.html").read_bytes()


def rated(raters: int, items: int, words: dict | None = None) -> pd.DataFrame:
    """One taste that splits people in two halves, and the last rater at random."""
    rng = np.random.default_rng(0)
    kind, of = rng.choice([-1.0, 1.0], raters), rng.standard_normal(items)
    value = kind[:, None] * of + 0.3 * rng.standard_normal((raters, items))
    value[-1] = 3 * rng.standard_normal(items)
    rows = [
        {"prompt": "p", "response": f"item {i}", "rating": value[r, i], "rater_id": f"r{r}"} for r in range(raters) for i in range(items)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(rating=np.where(frame.rating > 0, "yes", "no")) if words else frame


def test_ratings(tmp_path):
    rated(40, 20).to_csv(tmp_path / "r.csv", index=False)
    succeeds("audit", tmp_path / "r.csv", "--out", tmp_path / "out")
    found = read(tmp_path / "out")["kinds"]["ratings"]
    assert found["disagreement"]["taste"][1] > 0.5 and found["dimensions"]["active"] == 1
    assert abs(found["disagreement"]["rate"][0] - found["observed"]["differ"]) < 0.05
    assert found["splits"][0]["split"][1] > 0.3


def test_couples_judged_the_same_things(tmp_path):
    """Two crowds who each judged things of their own: the model has a guess of how far they are apart, and no couple is named for it."""
    one = rated(16, 20)
    other = one.assign(prompt="q", response="other " + one.response, rater_id="s" + one.rater_id)
    pd.concat([one, other]).to_csv(tmp_path / "r.csv", index=False)
    succeeds("audit", tmp_path / "r.csv", "--out", tmp_path / "out")
    named = [row["raters"] for rows in read(tmp_path / "out")["kinds"]["ratings"]["couples"].values() for row in rows]
    assert named and all(first.startswith("s") == second.startswith("s") for first, second in named)


def test_words_among_ratings(tmp_path):
    rated(20, 12, {"yes": 1}).to_csv(tmp_path / "r.csv", index=False)
    fails("audit", tmp_path / "r.csv", says="rating is not a finite number")
    fails("audit", tmp_path / "r.csv", "--value", "yes", says="is no NAME=VALUE")
    succeeds("audit", tmp_path / "r.csv", "--value", "yes=1", "--value", "no=0", "--out", tmp_path / "out")
    assert "disagreement" in read(tmp_path / "out")["kinds"]["ratings"]


def test_own_answers_among_options(tmp_path):
    frame = rated(30, 15, {"yes": 1}).rename(columns={"response": "prompt", "prompt": "x", "rating": "completion"})
    frame.to_csv(tmp_path / "votes.csv", index=False)
    succeeds("audit", tmp_path / "votes.csv", "--out", tmp_path / "out")
    found = read(tmp_path / "out")["kinds"]["own answers"]
    assert found["labels"] == 450 and found["things"] == 30 and "longer" not in found["everybody"]


def table(raters: list[str], questions: list[str], times: int = 1) -> pd.DataFrame:
    rows = [
        {"prompt": q, "a": f"{q} x", "b": f"{q} y", "label": 1 if (i + j) % 3 else -1, "rater_id": r}
        for _ in range(times) for i, r in enumerate(raters) for j, q in enumerate(questions)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (table(["ann"], ["p", "q", "r"]), "'ann' gave all labels, and one rater disagrees with nobody"),
        (table(["ann", "bob"], ["p", "q", "r"]), "2 raters are too few to say what is usual"),
        (pd.concat([table(["ann"], ["p", "q"]), table(["bob"], ["r", "s"])]), "no two raters judged the same things"),
        (table(list("abcdef"), ["p"]), "one pair was judged"),
        (table(list("abcdef"), ["p", "q"]), "labels can be kept back to tell taste from chance by, and 30 are needed"),
        (rated(3, 1), "one thing was rated"),
        (rated(5, 3).iloc[:1], "'r0' gave all labels"),
    ],
)
def test_what_tells_little_is_a_sentence(tmp_path, frame, says):
    frame.to_csv(tmp_path / "few.csv", index=False)
    shown = succeeds("audit", tmp_path / "few.csv", "--out", tmp_path / "out")
    assert says in " ".join(shown.split())
    kind = next(iter(read(tmp_path / "out")["kinds"].values()))
    assert "disagreement" not in kind and says in kind["notes"][0]
    assert says in (tmp_path / "out" / "audit.html").read_text().replace("&#39;", "'")


def test_free_texts_compare_nothing(tmp_path):
    frame = pd.DataFrame({"prompt": ["p"] * 9, "completion": [f"text {i}" for i in range(9)], "rater_id": list("abcabcabc")})
    frame.to_csv(tmp_path / "said.csv", index=False)
    shown = succeeds("audit", tmp_path / "said.csv", "--out", tmp_path / "out")
    assert "own answers are free text" in shown and read(tmp_path / "out")["kinds"] == {}


def test_a_text_that_is_markup_stays_text(tmp_path):
    frame = rated(20, 12).assign(rater_id=lambda f: f.rater_id.replace("r0", "<b>ann</b>"))
    frame.response = frame.response.replace("item 0", "<script>alert(1)</script> | a")
    frame.to_csv(tmp_path / "r.csv", index=False)
    succeeds("audit", tmp_path / "r.csv", "--out", tmp_path / "out")
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "<script" not in page and "<b>ann" not in page


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["no.csv"], "no.csv"),
        (["."], "has no trained stage"),
        ([".", "pairs.csv"], "stands beside others: give one of them alone"),
        ([], ""),
    ],
)
def test_what_cannot_be_audited(tmp_path, monkeypatch, inputs, says):
    monkeypatch.chdir(tmp_path)
    if inputs:
        fails("audit", *inputs, says=says)


@pytest.fixture
def run(tmp_path):
    root = save_run(tmp_path / "tiny", "embedding")
    table(["ann", "bob", "cy", "dan"], [f"Roll a die. {i}" for i in range(12)], 4).to_csv(tmp_path / "comparisons.csv", index=False)
    recipe = f"name: tiny\ndata: {{comparisons: {tmp_path}/comparisons.csv}}\nmodel: {{max_length: 48}}\nreward: {{steps: 1, lr: 1.0e-3}}\n"
    (root / "reward" / "recipe.resolved.yaml").write_text(recipe)
    return root


def test_a_run_says_what_its_reward_model_makes_of_raters(run):
    shown = succeeds("audit", run)
    found = read(run / "audit")
    assert found["model"]["of_raters"] == 3 and 0 <= found["model"]["flips"][0] <= 1  # dan is not known to it
    assert "The reward model" in shown and found["model"]["notes"] == []
    for stage in ("reward", "policy"):
        shutil.rmtree(run / stage)
    fails("audit", run, says="does not say what data it was trained on")


def test_a_run_without_raters(tmp_path):
    root = save_run(tmp_path / "tiny", "none")
    table(["ann", "bob"], ["p", "q"]).to_csv(tmp_path / "comparisons.csv", index=False)
    (root / "reward" / "recipe.resolved.yaml").write_text(
        f"name: t\ndata: {{comparisons: {tmp_path}/comparisons.csv}}\nreward: {{steps: 1, lr: 1.0e-3}}\n"
    )
    succeeds("audit", root)
    assert read(root / "audit")["model"]["notes"] == ["the reward model knows no raters (raters.encoding is none)"]


def test_figures_of_a_reward_model_by_hand():
    """Two raters of opposite mind on one of two pairs: every second preference flips; each is right about themselves."""
    scores = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]])
    found = figures(scores, np.array([0, 2, 0, 2]), np.array([1, 3, 1, 3]), np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 1.0, 0.0]), 0)
    assert found["flips"][0] == 0.5 and found["own"][0] == 1 and found["another"][0] == 0.5 and found["active"] == 1


def test_ties_are_no_preference_and_alike_raters_are_not_set_apart(tmp_path):
    """Of one mind but for chance, and many ties: how often two differ, of what both decided, is what the model says."""
    rng = np.random.default_rng(0)
    worth = 2 * rng.standard_normal(10)
    rows = []
    for r in range(40):
        for i, j in rng.integers(10, size=(30, 2)):
            if i != j:
                decided = 1 if rng.random() < 1 / (1 + np.exp(worth[j] - worth[i])) else -1
                label = 0 if rng.random() < 0.4 else decided
                rows.append({"prompt": "p", "a": f"t{i}", "b": f"t{j}", "label": label, "rater_id": f"r{r}"})
    pd.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    succeeds("audit", tmp_path / "pairs.csv", "--out", tmp_path / "out")
    found = read(tmp_path / "out")["kinds"]["comparisons"]
    assert found["disagreement"]["rate"][0] == pytest.approx(found["observed"]["differ"], abs=0.05)
    assert found["disagreement"]["chance"][0] > 0.8 and not found.get("splits")


def of_rank(rank: int, rated: bool) -> pd.DataFrame:
    """Labels of 120 people on 15 things, who differ by as many tastes and by nothing else."""
    rng = np.random.default_rng(rank)
    taste, loading, worth = rng.standard_normal((120, rank)), 1.5 * rng.standard_normal((15, rank)), rng.standard_normal(15)
    value = worth + taste @ loading.T
    if rated:
        value = value + rng.standard_normal(value.shape)
        rows = [("p", f"thing {i}", value[r, i], f"r{r}") for r in range(120) for i in range(15)]
        return pd.DataFrame(rows, columns=["prompt", "response", "rating", "rater_id"])
    rows = []
    for r in range(120):
        for _ in range(60):
            i, j = rng.choice(15, 2, replace=False)
            label = 1 if rng.random() < 1 / (1 + np.exp(value[r, j] - value[r, i])) else -1
            rows.append(("p", f"thing {i}", f"thing {j}", label, f"r{r}"))
    return pd.DataFrame(rows, columns=["prompt", "a", "b", "label", "rater_id"])


@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_as_many_axes_are_active_as_there_are_tastes(tmp_path, monkeypatch, rank, rated):
    """Eight tastes may be: as few as tell what was kept back are fitted, and so many are active."""
    for name, value in (("TASTES", 8), ("RANK", 8), ("PRECISIONS", (2.5, 10.0))):
        monkeypatch.setattr(fitted, name, value)
    of_rank(rank, rated).to_csv(tmp_path / "labels.csv", index=False)
    succeeds("audit", tmp_path / "labels.csv", "--out", tmp_path / "out")
    found = read(tmp_path / "out")["kinds"]["ratings" if rated else "comparisons"]
    assert found["dimensions"]["active"] == rank
