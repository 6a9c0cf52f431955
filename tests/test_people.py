"""Real people: reading votes, the figures of fictitious participants on synthetic votes, and the real files where they lie."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raterhf.data.labels import read_labels
from raterhf.errors import UserError
from raterhf.evaluation.compare import discussions, participants
from raterhf.recipe_reader import load_recipe

ROOT = Path(__file__).parents[1]
POLIS = ROOT.parent / "shared" / "data" / "polis"
OPTIONS = ["agree", "disagree", "pass"]


def votes_frame(n_known=40, n_unseen=32, n_statements=12):
    """Two camps: on every statement one agrees and the other disagrees, one vote in ten the other way round."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n_known + n_unseen):
        camp = i % 2
        for s in range(n_statements):
            vote = "agree" if (camp + s + (rng.random() < 0.1)) % 2 else "disagree"
            split = "unseen_support" if i >= n_known else "test" if s == i % n_statements else "train"
            rows.append((f"p{i}", "parks", f"s{s}", f"statement number {s}", vote, split))
    return pd.DataFrame(rows, columns=["rater_id", "discussion", "statement_id", "statement", "vote", "split"])


def pairs_frame(votes):
    rows = []
    for (rater, split), mine in votes.groupby(["rater_id", "split"]):
        yes, no = mine[mine.vote == "agree"].statement, mine[mine.vote == "disagree"].statement
        rows += [(rater, "Discussion: parks", "parks", y, n, split) for y in yes for n in no]
    frame = pd.DataFrame(rows, columns=["rater_id", "prompt", "discussion", "chosen", "rejected", "split"])
    tests = frame[frame.split == "train"].groupby("rater_id").head(2)
    return pd.concat([frame, *(tests.assign(split=split) for split in discussions.TESTS)])


def read_votes(path, split):
    return read_labels(
        demonstrations=path, split=split, group_column="discussion",
        columns={"demonstrations.prompt": "Discussion: {discussion}\n{statement}", "demonstrations.completion": "vote"},
    )  # fmt: skip


def test_prompt_is_made_of_several_columns(tmp_path):
    votes_frame().to_parquet(tmp_path / "votes.parquet")
    labels = read_votes(tmp_path / "votes.parquet", "train")
    assert labels.demonstrations.prompt[0] == "Discussion: parks\nstatement number 1"
    assert labels.counts["demonstrations"]["columns_ignored"][str(tmp_path / "votes.parquet")] == ["statement_id"]
    assert set(labels.raters.group) == {"parks"}


def test_template_of_a_missing_column_names_it(tmp_path):
    votes_frame().rename(columns={"statement": "Statement"}).to_parquet(tmp_path / "votes.parquet")
    with pytest.raises(UserError, match=r"no column statement, which the template .* \(nearest: Statement\)"):
        read_votes(tmp_path / "votes.parquet", "train")


def test_template_with_a_missing_cell_is_a_bad_row(tmp_path):
    frame = votes_frame()
    frame.loc[1, "statement"] = None
    frame.astype(object).where(frame.notna(), None).to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    with pytest.raises(UserError, match=r"row 2 \(line 2\)"):
        read_votes(tmp_path / "votes.jsonl", "train")


def test_vote_metrics_by_hand():
    log_probs = np.log([[0.5, 0.25, 0.05], [0.1, 0.3, 0.4]])
    distribution = participants.renormalised(log_probs)
    assert np.allclose(distribution, [[0.625, 0.3125, 0.0625], [0.125, 0.375, 0.5]])
    figures = discussions.vote_metrics(log_probs, np.array([0, 1]))
    assert np.isclose(figures["vote_nll"], -(np.log(0.625) + np.log(0.375)) / 2)
    assert np.isclose(figures["vote_nll_plain"], -(np.log(0.5) + np.log(0.3)) / 2)
    assert figures["vote_accuracy"] == 0.5 and np.isclose(figures["valid"], 0.8)


def test_votes_are_drawn_from_their_distributions():
    distributions = np.tile([0.2, 0.0, 0.8], (2000, 1, 1))
    drawn = participants.draw_votes(distributions, np.random.default_rng(0).random((2000, 1)))
    assert drawn.shape == (2000, 1)
    assert set(drawn[:, 0]) == {0, 2} and abs((drawn == 2).mean() - 0.8) < 0.03


def test_gather_takes_those_who_voted_on_most_statements(tmp_path):
    frame = votes_frame()
    unseen = frame.split == "unseen_support"
    few = frame.rater_id.eq("p71") & ~frame.statement_id.isin(["s0", "s1", "s2"])
    frame.loc[frame.rater_id.eq("p70") & frame.statement_id.eq("s3"), "split"] = "other"
    frame[unseen & ~few].to_parquet(tmp_path / "votes.parquet")
    rows = read_votes(tmp_path / "votes.parquet", discussions.UNSEEN[0])
    known = set(rows.demonstrations.prompt) - {"Discussion: parks\nstatement number 0"}
    (discussion,) = participants.gather(rows.demonstrations.assign(group="parks"), known, OPTIONS)
    assert discussion.real.shape == (31, 11)  # p71 is out, statement 0 is new
    assert discussion.novel_statements == ["Discussion: parks\nstatement number 0"]
    assert (discussion.real < 0).sum() == 1


def test_too_few_people_is_an_error():
    rows = pd.DataFrame({"rater_id": ["a"], "prompt": ["x"], "completion": ["agree"], "group": ["g"]})
    with pytest.raises(UserError, match="no discussion has 30 people"):
        participants.gather(rows, {"x"}, OPTIONS)


def camps(n_sets, n, noise, rng):
    """Vote distributions [S, R, Q, 3] of two camps, and votes drawn from them."""
    camp = rng.integers(2, size=(n_sets, n))
    sign = (camp[:, :, None] + np.arange(10)) % 2
    agree = np.where(sign == 1, 1 - noise, noise)
    distributions = np.stack([agree, 1 - agree, 0 * agree], -1)
    return distributions, votes_of(distributions, rng)


def votes_of(distributions, rng):
    return participants.draw_votes(distributions, rng.random(distributions.shape[:-1]))


def test_people_of_the_same_population_are_not_told_apart_but_nobody_is():
    rng = np.random.default_rng(1)
    _, (real,) = camps(1, 120, 0.1, rng)
    real[::7, 3] = -1
    distributions, votes = camps(1, 120, 0.1, rng)
    coherent = participants.compare_with_real(distributions, np.where(real < 0, -1, votes), real, rng, 0)
    even = np.full((1, 120, 10, 3), [0.5, 0.5, 0.0])
    nobody = participants.compare_with_real(even, np.where(real < 0, -1, votes_of(even, rng)), real, rng, 0)
    assert coherent["c2st_auc"] < 0.65 < 0.8 < nobody["c2st_auc"]
    assert 0.7 < coherent["mi_ratio"] < 1.3 and abs(nobody["mi_ratio"]) < 0.1
    assert coherent["tv"] < 0.1 and nobody["tv"] < 0.1  # both have the marginals
    assert coherent["joint_tv"] < nobody["joint_tv"]


def test_absent_files_name_the_override(tmp_path):
    recipe = load_recipe(ROOT / "recipes" / "polis.yaml", [f"data.comparisons={tmp_path / 'none.parquet'}"])
    with pytest.raises(UserError, match="data.comparisons=PATH"):
        discussions.check_files(recipe)


def test_learned_vectors_and_a_policy_stage_exclude_each_other():
    with pytest.raises(UserError, match="learn_vectors"):
        load_recipe(ROOT / "recipes" / "polis.yaml", ["policy={steps: 1, lr: 0.1}"])


def test_compare_people_from_files_to_metrics(tmp_path, monkeypatch):
    votes = votes_frame()
    votes = pd.concat([votes, votes[votes.split == "test"].assign(split="test_new_statement")])
    votes.to_parquet(tmp_path / "votes.parquet")
    pairs_frame(votes).to_parquet(tmp_path / "pairs.parquet")
    small = "{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, head_dim: 8}"
    monkeypatch.setattr(participants, "SETS", 1)
    recipe = load_recipe(
        ROOT / "recipes" / "polis.yaml",
        [f"runs={tmp_path}", f"data.comparisons={tmp_path / 'pairs.parquet'}", f"data.demonstrations={tmp_path / 'votes.parquet'}",
         f"model.config={small}", "model.vocab_size=300", "raters.components=[1]", "raters.dim=4", "reward.steps=3",
         "reward.batch_size=64", "sft.steps=3", "sft.batch_size=32"],
    )  # fmt: skip
    page = discussions.compare_people(recipe)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert found["schema"] == 1
    assert set(found["reward_models"]) == {"rater", "null", "shuffled", "none"}
    assert set(found["policies"]) == {"rater_known", "rater_new", "none"}
    assert found["discussions"]["parks"]["people"] == 32
    assert 0 < found["policies"]["rater_new"]["c2st_auc"] < 1
    text = page.read_text()
    assert "parks" in text and "A classifier separates fictitious participants from people with an AUC of 0." in text
    assert text.count("<svg") == len(found["discussions"]["parks"]["statements"]) + 3
    assert (page.parent / "plots" / "votes-0-0.svg").is_file()
    # Controls that nobody asked for are neither trained nor spoken of.
    text = discussions.compare_people(recipe, ["rater_new"]).read_text()
    assert set(json.loads((page.parent / "metrics.json").read_text())["reward_models"]) == {"rater", "null"}
    assert "for nobody in particular." in text and "with IDs shuffled" not in text
    with pytest.raises(UserError, match="control 'vanilla' is not one of rater_known, rater_new, shuffled, none"):
        discussions.compare_people(recipe, ["vanilla"])


@pytest.mark.skipif(not POLIS.is_dir(), reason="../shared/data/polis is not there: real votes are not shipped")
def test_real_votes_keep_unseen_people_out_of_training():
    recipe = load_recipe(
        ROOT / "recipes" / "polis.yaml", [f"data.comparisons={POLIS / 'pairs.parquet'}", f"data.demonstrations={POLIS / 'votes.parquet'}"]
    )
    train = discussions.rows_of(recipe, "demonstrations", "train")
    unseen = discussions.rows_of(recipe, "demonstrations", discussions.UNSEEN)
    assert len(train) == 212_229 and train.rater_id.nunique() == 2_709
    assert not set(train.rater_id) & set(unseen.rater_id)
    found = participants.gather(unseen, set(train.prompt), OPTIONS)
    assert [len(g.real) for g in found] == [158, 39, 34]
