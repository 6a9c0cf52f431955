"""Any form of data alone: from files of one kind to fictitious raters who answer."""

import numpy as np
import pandas as pd
import pytest
import torch

from raterhf.data.example import Example
from raterhf.data.prepare import find_people, read_data
from raterhf.errors import UserError
from raterhf.models.checkpoint import load_policy, load_pool
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import PrefixReader
from raterhf.recipe_reader import parse_recipe
from raterhf.run import open_run
from raterhf.training import pipeline
from raterhf.training.inferred import begin_reader
from raterhf.training.stages.sft import unknown_raters

TINY = {
    "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True,
}  # fmt: skip
ASKED = {"Name a colour.": ("red", "blue"), "Name a pet.": ("cat", "dog")}

pytestmark = pytest.mark.usefixtures("one_thread")


def write_data(folder, raters: int = 24) -> dict[str, str]:
    """One kind of rater says red and cat, another blue and dog; each prefers and rates best what they would say."""
    rows = {"demonstrations": [], "comparisons": [], "ratings": []}
    for r in range(raters):
        for prompt, answers in ASKED.items():
            one = {"prompt": prompt, "rater_id": f"r{r:02}"}
            own, other = answers[r % 2], answers[1 - r % 2]
            rows["demonstrations"].append(one | {"completion": own})
            rows["comparisons"].append(one | {"chosen": own, "rejected": other})
            rows["ratings"] += [one | {"response": own, "rating": 5}, one | {"response": other, "rating": 1}]
    for kind, found in rows.items():
        pd.DataFrame(found).to_csv(folder / f"{kind}.csv", index=False)
    return {kind: str(folder / f"{kind}.csv") for kind in rows}


def recipe_for(folder, kind: str, **changes):
    raw = {
        "name": "alone", "runs": str(folder / "runs"), "data": {kind: write_data(folder)[kind], "validate_share": 0},
        "model": {"config": TINY, "vocab_size": 300, "max_length": 32},
        "raters": {"dim": 2, "idiosyncratic_dim": 4, "tokens": 2, "components": [1, 2], "scales": [1.0]},
        "sft": {"steps": 3, "batch_size": 16, "lr": 1e-3, "source": "demonstrations" if kind == "demonstrations" else "chosen"},
    }  # fmt: skip
    for key, value in changes.items():
        raw[key] = raw.get(key, {}) | value
    return parse_recipe(raw, "the test")


@pytest.mark.parametrize("learned", [True, False])
def test_answers_alone_teach_who_said_them(tmp_path, learned):
    sft = {"steps": 100, "batch_size": 24, "lr": 1e-2, "learn_vectors": learned}
    recipe = recipe_for(tmp_path, "demonstrations", sft=sft, raters={"noise": 0.5})
    pipeline.train(recipe)
    run = open_run(recipe.folder)
    if learned:
        assert run.raters.vectors.std(0, ddof=1).mean() == pytest.approx(1, abs=0.01)
    else:  # both kinds are known, and nothing else hangs together
        assert run.raters.dim == 1
        assert np.diag(run.raters.population.covariance()) == pytest.approx([1])
        assert (run.raters.vectors[0::2] * run.raters.vectors[1::2] < 0).all()
    assert not np.allclose(run.raters.vectors[0], run.raters.vectors[1])
    said = {prompt: [answer.completion for answer in run.sample(prompt, "new", 60)] for prompt in ASKED}
    pairs = list(zip(*said.values()))
    kinds = [sum(pair == kind for pair in pairs) for kind in (("red", "cat"), ("blue", "dog"))]
    # A fictitious rater is of one kind, and there are both.
    assert sum(kinds) >= 45 and min(kinds) >= 10, (kinds, pairs)
    assert [answer.completion for answer in run.sample("Name a pet.", "r00", 5)].count("cat") >= 4
    with pytest.raises(UserError, match="has the stage sft alone, and reward is needed"):
        run.score([("Name a pet.", "cat")], "new:2x")


def test_soft_tokens_begin_as_what_such_a_person_says_by_hand():
    """Of two kinds one says tokens 2 and 3, the other 4 and 5, so that taste explains all: a rater's soft tokens are their kind's own
    words, nobody's are half of each."""
    table = torch.eye(6)
    examples = [Example((1, 2, 3), 1), Example((1, 4, 5), 1)] * 2
    reader = PrefixReader(1, 2, 6, 0.5)
    begin_reader(reader, table, examples, np.array([[-1.0], [1.0]] * 2))
    with torch.no_grad():
        soft = reader(RaterBatch(torch.tensor([[-1.0], [1.0], [0.0], [7.0]]), torch.tensor([False, False, False, True])))
    assert soft[0].numpy() == pytest.approx(table[[2, 3]].numpy(), abs=1e-6)
    assert soft[1].numpy() == pytest.approx(table[[4, 5]].numpy(), abs=1e-6)
    for nobody in soft[2:]:
        assert nobody.numpy() == pytest.approx((table[[2, 3]] + table[[4, 5]]).numpy() / 2, abs=1e-6)


def test_people_who_come_later_are_known_by_their_answers(tmp_path):
    recipe = recipe_for(tmp_path, "demonstrations")
    pipeline.train(recipe)
    run = open_run(recipe.folder)
    # r00 says red and cat, r01 blue and dog: so do the two who come later, and one of them says more than the other.
    rows = [("Name a colour.", "red", "ann"), ("Name a pet.", "cat", "ann"), ("Name a colour.", "blue", "ben")]
    pd.DataFrame(rows, columns=["prompt", "completion", "rater_id"]).to_csv(tmp_path / "later.csv", index=False)
    ann, ben = run.fit_rater(tmp_path / "later.csv")
    assert (ann.id, ann.labels, ben.labels) == ("ann", 2, 1)
    first, second = run.raters.vectors[0], run.raters.vectors[1]
    assert ann.mean == pytest.approx(first, abs=1e-4)
    assert ben.mean @ second > 0 > ben.mean @ first
    assert np.trace(ann.covariance) < np.trace(ben.covariance) < np.trace(run.raters.population.covariance())
    run.add_raters([ann, ben])
    assert run.raters.known[-2:] == ["ann", "ben"] and len(run.sample("Name a pet.", "ann", 2)) == 2
    later = pd.DataFrame([("Name a pet.", "dog")], columns=["prompt", "completion"])
    (more,) = run.fit_rater(later, "ben", update=True)
    assert np.trace(more.covariance) < np.trace(ben.covariance)
    assert run.fit_rater(None, "cat")[0].mean == pytest.approx(run.raters.population.means.mean(0), abs=0.5)


def test_raters_kept_for_validation_are_known_by_their_answers_when_training_ends(tmp_path):
    recipe = recipe_for(tmp_path, "demonstrations", data={"validate_share": 0.3})
    pipeline.train(recipe)
    pool = load_pool(recipe.folder / "sft")
    kept = find_people(read_data(recipe)).validate
    assert kept and set(pool.covariances) == set(kept) and set(pool.learned().known) == set(pool.known) - set(kept)
    like = {rater: pool.vectors[pool.index[rater]] for rater in pool.known}
    of_kind = [[like[rater] for rater in pool.learned().known if int(rater[1:]) % 2 == kind] for kind in (0, 1)]
    for rater in kept:  # each is as those of their kind are
        apart = [np.linalg.norm(like[rater] - np.mean(kind, 0)) for kind in of_kind]
        assert apart[int(rater[1:]) % 2] < apart[1 - int(rater[1:]) % 2]


@pytest.mark.parametrize("kind", ["comparisons", "ratings"])
def test_comparisons_or_ratings_alone_train_every_stage(tmp_path, kind):
    one = {"steps": 2, "batch_size": 8, "lr": 1e-3}
    policy = one | {"prompts": 2, "raters": 2, "samples": 4, "options": {"choices": 2}, "max_new_tokens": 4}
    recipe = recipe_for(tmp_path, kind, reward=one, policy=policy)
    pipeline.train(recipe)
    run = open_run(recipe.folder)
    assert run.folder.joinpath("policy").is_dir() and len(run.sample("Name a pet.", "new", 3)) == 3
    assert run.score([("Name a pet.", "cat")], "new:2x").shape == (2, 1)


@pytest.mark.parametrize("kind", ["comparisons", "ratings"])
def test_what_was_chosen_teaches_raters_without_a_reward_model(tmp_path, kind):
    recipe = recipe_for(tmp_path, kind)
    pipeline.train(recipe)
    assert len(open_run(recipe.folder).sample("Name a pet.", "new", 3)) == 3


def test_idiosyncratic_taste_of_answers_alone(tmp_path, capsys):
    pipeline.train(recipe_for(tmp_path, "demonstrations"))
    assert "nothing tells what of a rater's taste persists" in capsys.readouterr().out
    recipe = recipe_for(tmp_path, "demonstrations", raters={"persistence": 0.75})
    pipeline.train(recipe)
    taste = load_policy(recipe.folder / "sft")[0].idiosyncratic
    assert load_pool(recipe.folder / "sft").idiosyncratic_dim == taste.dim == 4
    assert taste.persistence[-1].item() == pytest.approx(np.log(3)) and taste.question.abs().max() > 0 and taste.weight.min() < 1


def test_raters_who_said_nothing_are_left_out_and_counted(tmp_path, capsys):
    recipe = recipe_for(tmp_path, "demonstrations", data={"comparisons": str(tmp_path / "comparisons.csv")})
    rows = pd.read_csv(tmp_path / "demonstrations.csv")
    rows[rows.rater_id < "r20"].to_csv(tmp_path / "demonstrations.csv", index=False)
    labels = read_data(recipe)
    pool = unknown_raters(recipe.raters, find_people(labels), labels, "demonstrations")
    assert len(pool.known) == 20 and "4 of 24 raters have no demonstrations to learn them by" in capsys.readouterr().out
    rows[rows.rater_id == "r00"].to_csv(tmp_path / "demonstrations.csv", index=False)
    with pytest.raises(UserError, match="1 labelled rater"):
        pipeline.train(recipe)
