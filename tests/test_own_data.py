"""`compare` on data of one's own: from files to metrics.json and the page, and what is asked again of whom."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_run import CONFIG
from tokenizers.processors import TemplateProcessing

from raterhf.data import prepare
from raterhf.data.labels import read_labels
from raterhf.data.prepare import read_data
from raterhf.errors import UserError
from raterhf.evaluation.compare import reward_metrics
from raterhf.evaluation.compare.own_data import ask_again, compare_own
from raterhf.evaluation.compare.run import compare
from raterhf.evaluation.trl_baseline import _once, pair_rows, standard_scale
from raterhf.models.load import build_model, train_tokenizer
from raterhf.recipe import Recipe
from raterhf.recipe_reader import parse_recipe
from raterhf.reports.own_data import NO_GOLD, summary
from raterhf.training.stages.reward import make_training
from raterhf.training.start import save_start

PETS = {"cat": "A cat.", "dog": "A dog.", "eel": "An eel."}


def write_files(folder, raters: int = 14, messages: bool = False) -> dict[str, str]:
    """Every rater answers two prompts and prefers their own answer to another; as text, or as messages."""
    rng = np.random.default_rng(0)

    def put(prompt: str) -> str | list[dict]:
        return [{"role": "user", "content": prompt}] if messages else prompt

    rows = []
    for r in range(raters):
        own, other = (list(PETS.values())[i] for i in rng.permutation(3)[:2])
        rows += [{"prompt": put(f"Name a {what}."), "chosen": own, "rejected": other, "rater_id": f"r{r}"} for what in ("pet", "friend")]
    frame = pd.DataFrame(rows)
    paths = {kind: str(folder / f"{kind}.jsonl") for kind in ("comparisons", "demonstrations")}
    frame.to_json(paths["comparisons"], orient="records", lines=True)
    said = frame.rename(columns={"chosen": "completion"}).drop(columns="rejected")
    said.to_json(paths["demonstrations"], orient="records", lines=True)
    return paths


def recipe_for(folder, messages: bool = False, **changes) -> Recipe:
    trl = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "max_steps": 2, "max_length": 48}
    one = {"steps": 2, "batch_size": 8, "lr": 1e-3}
    raw = {
        "name": "own", "runs": str(folder / "runs"), "data": write_files(folder, messages=messages) | {"held_out": 0.3},
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 48},
        "raters": {"dim": 2, "idiosyncratic_dim": 0, "tokens": 2, "components": [1]},
        "reward": one, "sft": one, "policy": one | {"prompts": 2, "raters": 2, "samples": 4, "options": {"choices": 2},
        "max_new_tokens": 6},
        "vanilla": {"sft": trl, "reward": trl, "rl": trl | {"num_generations": 4, "max_completion_length": 6}},
        "compare": {"draws": 40},
    }  # fmt: skip
    raw = {key: value for key, value in (raw | changes).items() if value is not None}
    raw.get("vanilla", {"rl": {"max_length": 0}})["rl"].pop("max_length")
    return parse_recipe(raw, "own.yaml")


def test_ours_alone_without_a_base_stage(tmp_path, capsys):
    recipe = recipe_for(tmp_path, vanilla=None)
    page = compare(recipe, ["base", "sft", "rater_new", "shuffled"], 1)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert set(found["policies"]) == {"base", "sft", "rater_new"} and set(found["reward_models"]) == {"rater", "null", "shuffled"}
    assert [row["raters"] for row in found["prompts"].values()] == [14, 14]
    assert {row["prompt"] for row in found["prompts"].values()} == {"Name a pet.", "Name a friend."}
    assert set(found["probes"]) == {"templates", "multiverse", "spanning", "substitution", "fluency"}
    assert "population" in found["probes"]["templates"]["policies"]
    text = page.read_text()
    assert "raters&#39; own answers" in text and "A cat." in text and "vanilla RLHF</h4>" not in text
    assert (recipe.folder / "start" / "config.json").is_file()
    assert not (recipe.folder / "controls" / "shuffled" / "policy").exists()  # nobody judges it
    written = capsys.readouterr()
    shown = written.err.splitlines()
    for title in ("calibration of own: 2 parts in", "judging reward models: 2 models in", "probes: "):
        assert any(line.startswith(f"  {title}") for line in shown), title
    assert "top_share" in written.out and "fictitious raters" in written.out and "flip_rate" in written.out


@pytest.mark.slow
def test_beside_vanilla_on_conversations_of_a_pretrained_model(tmp_path):
    tokenizer = train_tokenizer([*PETS.values(), "Name a pet. user assistant"], 300)
    # As GPT-2's: one token begins, ends and pads, and stands before every text.
    tokenizer.pad_token = tokenizer.bos_token = tokenizer.eos_token
    begin = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", tokenizer.eos_token_id)])
    tokenizer._tokenizer.post_processor = begin
    tokenizer.chat_template = (
        "<eos>{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    build_model(CONFIG, tokenizer, 48, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    recipe = recipe_for(tmp_path, messages=True, model={"path": str(tmp_path / "lm"), "max_length": 48})
    page = compare_own(recipe, None)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert set(found["policies"]) == {"base", "sft_no_ids", "vanilla", "rater_new"}
    assert set(found["reward_models"]) == {"rater", "null", "vanilla", "shuffled"}
    assert not any(probe["holes"] for probe in found["probes"].values())
    assert "user: Name a pet." in page.read_text() and sum(len(sentences) for _, sentences in summary(found)) == 6


@pytest.mark.slow
def test_vanilla_has_the_same_means_and_what_both_took_stands_side_by_side(tmp_path, capsys):
    tokenizer = train_tokenizer([*PETS.values(), "Name a pet."], 300)
    build_model(CONFIG, tokenizer, 48, 0).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    adapters = {"path": str(tmp_path / "lm"), "max_length": 48, "train": "lora", "lora": {"r": 2}}
    recipe = recipe_for(tmp_path, model=adapters)
    found = json.loads((compare_own(recipe, None).parent / "metrics.json").read_text())
    assert set(found["policies"]) == {"base", "sft_no_ids", "vanilla", "rater_new"}
    assert set(found["reward_models"]) == {"rater", "null", "vanilla", "shuffled"}
    # No folder of the run holds the weights that stay.
    assert {path.name for path in recipe.folder.rglob("*.safetensors")} == {
        "adapter_model.safetensors", "raterhf.safetensors", "raters.safetensors"
    }  # fmt: skip
    assert list(found["trainings"]) == [f"{who}{stage}" for stage in ("reward", "sft", "policy") for who in ("", "vanilla ")]
    assert all(row["updates"] == 2 and row["seconds"] > 0 and row["peak_mib"] > 100 for row in found["trainings"].values())
    assert "What the trainings took" in (recipe.folder / "compare" / "report.html").read_text()
    assert "vanilla policy" in capsys.readouterr().out
    other = recipe_for(tmp_path, model=adapters | {"lora": {"r": 3}})
    compare_own(other, ["base", "sft_no_ids"])  # trained again, since the means changed
    settings = json.loads((recipe.folder / "vanilla" / "sft" / "adapter_config.json").read_text())
    assert settings["r"] == 3


def test_prompts_that_most_raters_answered_are_ask_again(tmp_path):
    rows = [{"prompt": p, "completion": f"{p}{r}", "rater_id": f"r{r}"} for p, n in (("a", 30), ("b", 20), ("c", 9)) for r in range(n)]
    rows += rows[:5]  # some said it twice
    pd.DataFrame(rows).to_csv(tmp_path / "d.csv", index=False)
    labels = read_labels(demonstrations=tmp_path / "d.csv")
    questions, people = ask_again(labels, "demonstrations", 0)
    # Two prompts with 20 answers are more than one with 30.
    assert [q.prompts for q in questions] == [["a"], ["b"]] and [said.rows for said in people.values()] == [20, 20]
    assert len(set(people["1 a"].texts)) == 20
    alone = labels.demonstrations[labels.demonstrations.prompt == "c"]
    questions, people = ask_again(
        replace(labels, demonstrations=alone), "demonstrations", 0
    )  # nine raters tell too little of what people say
    assert [q.prompts for q in questions] == [["c"]] and people == {}


def test_what_cannot_be_compared_is_said_before_training(tmp_path):
    with pytest.raises(UserError, match="--seeds 3 redraws a simulated world"):
        compare(recipe_for(tmp_path), None, 3)
    with pytest.raises(UserError, match="section `vanilla`.*--controls base,sft,rater_new"):
        compare(recipe_for(tmp_path, vanilla=None), None, 1)
    with pytest.raises(UserError, match="control 'text_ids' is not one of base, sft_no_ids"):
        compare(recipe_for(tmp_path), ["text_ids"], 1)
    with pytest.raises(UserError, match="stages reward, sft and policy; or.*data.group_column"):
        compare(recipe_for(tmp_path).model_copy(update={"policy": None}), None, 1)
    frozen = recipe_for(tmp_path, model={"path": "lm", "max_length": 48, "train": "none"})
    with pytest.raises(UserError, match="model.train is none.*set model.train to lora, or leave it out: --controls base,sft,rater_new"):
        compare(frozen, None, 1)
    assert not (tmp_path / "runs").exists()


def test_vanilla_leaves_out_the_over_long_rows_that_ours_leaves_out(tmp_path):
    recipe = recipe_for(tmp_path)
    rows = pd.read_json(recipe.data.comparisons, lines=True)
    rows.loc[3, "chosen"] = "A cat. " * 40
    rows.to_json(recipe.data.comparisons, orient="records", lines=True)
    labels = read_data(recipe)
    save_start(recipe, labels)
    with pytest.raises(UserError, match="1 of .* examples are longer than the window"):
        pair_rows(recipe, labels)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"max_dropped": 0.1})})
    train, held = pair_rows(recipe, labels)
    made = make_training(recipe, prepare.read_data(recipe))
    assert (len(train), len(held)) == (len(made.train), len(made.held)) and len(held) > 0
    assert max(train.a.str.len().max(), held.a.str.len().max()) < 20


def test_a_window_that_leaves_nothing_is_an_error_whatever_may_be_left_out(tmp_path):
    recipe = recipe_for(tmp_path, vanilla=None)
    rows = pd.read_json(recipe.data.comparisons, lines=True)
    rows.assign(chosen=rows.chosen + " A cat." * 40).to_json(recipe.data.comparisons, orient="records", lines=True)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"max_dropped": 1.0})})
    with pytest.raises(UserError, match="comparisons: nothing is left to train on; .* window of 48 tokens .model.max_length.: raise it"):
        make_training(recipe, read_data(recipe))


def test_votes_alone_are_compared_with_those_of_unseen_people(tmp_path, monkeypatch):
    monkeypatch.setattr("raterhf.evaluation.compare.run.compare_people", lambda recipe, controls: "people")
    monkeypatch.setattr("raterhf.evaluation.compare.run.compare_own", lambda recipe, controls: "own")
    recipe = recipe_for(tmp_path)
    grouped = recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": "train", "group_column": "conditioning"})})
    assert (compare(grouped, None, 1), compare(grouped.model_copy(update={"policy": None}), None, 1)) == ("own", "people")


def test_summaries_say_what_was_measured_and_why_the_rest_was_not():
    probes = {"templates": {"policies": {"rater_new": {"top_share": [0.25, 0.2, 0.3]}, "vanilla": {"top_share": [0.5, None, None]}}}}
    models = {"rater": {"accuracy": 0.75, "pairs": 8.0}, "vanilla": {"accuracy": 0.5, "pairs": 8.0}}
    models["rater"] |= {"accuracy_new_pairs": 0.5, "new_pairs": 2.0}
    policies = {"vanilla": {}, "rater_new": {}}
    found = dict(summary({"reward_models": models, "probes": probes, "prompts": {"1 a": {"raters": 12}}, "policies": policies}))
    assert found == {
        "What was compared": [
            "Answers to 1 prompt that most raters answered, from models trained on the same labels, beside the raters' own answers: "
            "vanilla RLHF and fictitious raters."
        ],
        "What came back": [
            "The most frequent opening takes this share of the answers to a prompt: 0.250 [0.200, 0.300] with fictitious raters."
        ],
        "Who predicts raters' choices": [
            "Of 8 comparisons kept from training the reward model is right on 75.0 % with raters, 50.0 % with vanilla's.",
            "Of 2 of these, whose two answers nobody judged in training, the reward model is right on 50.0 % with raters.",
        ],
        "At what price in quality": [NO_GOLD],
    }
    models = {"rater": {"accuracy": None, "pairs": 0.0}}
    nothing = dict(summary({"reward_models": models, "probes": {}, "prompts": {"1 a": {"raters": 0}}, "policies": policies}))
    assert "data.held_out" in nothing["Who predicts raters' choices"][0]
    assert len(nothing["What came back"]) == 1 and "no prompt was answered by 10 raters or more" in nothing["What came back"][0]


def test_few_comparisons_leave_the_scale_of_vanillas_reward_near_one():
    assert [standard_scale(np.ones(n), np.zeros(n)) for n in (0, 3)] == pytest.approx([1, 1])
    assert 1 < standard_scale(np.ones(9), np.ones(9)) < 4  # nine that are right: 7.39, the end of the grid, by likelihood alone
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 1, 4000)
    label = np.where(rng.random(4000) < 1 / (1 + np.exp(-2 * margin)), 1, -1)
    assert standard_scale(margin, label) == pytest.approx(2, rel=0.15)


def test_a_stage_of_the_baseline_is_trained_again_where_its_files_or_inputs_differ(tmp_path):
    """What lay there before is gone when that begins: nobody may take it for the new one's."""
    folder, trained = tmp_path / "sft", []

    def train(out):
        assert not out.exists()
        out.mkdir()
        (out / "model.safetensors").write_text("weights")
        trained.append(1)

    def times(inputs: list) -> int:
        _once(folder, inputs, train)
        return len(trained)

    assert times([1]) == 1 and times([1]) == 1
    (folder / "model.safetensors").write_text("Weights")
    assert times([1]) == 2
    (folder / "model.safetensors").unlink()
    assert times([1]) == 3 and times([1]) == 3
    assert times([2]) == 4 and times([2]) == 4


def test_accuracy_stands_apart_for_pairs_that_nobody_was_trained_on():
    """Another rater's label of a pair, or the same pair swapped, is a memory of it."""
    train = pd.DataFrame({"prompt": ["p", "q"], "a": ["x", "x"], "b": ["y", "y"]})
    held = pd.DataFrame({"prompt": ["p", "p", "p", "r"], "a": ["x", "y", "x", "x"], "b": ["y", "x", "z", "y"]})
    met = reward_metrics.met_in_training(train, held)
    assert met.tolist() == [True, True, False, False]
    held = held.assign(met=met, label=[1, 1, 1, -1], rater_id="r")
    found = reward_metrics._metrics_of(np.array([1.0, 1.0, 1.0, 1.0]), held)
    assert (found["accuracy"], found["accuracy_new_pairs"], found["new_pairs"]) == (0.75, 0.5, 2)


@pytest.mark.parametrize("prompt", ["Name a pet.", [{"role": "user", "content": "Name a pet."}]])
def test_flips_are_measured_on_prompts_as_they_are(prompt):
    """Two who disagree on a pair, one of them with its sides swapped; a third agrees with the first."""
    rows = [(prompt, "cat", "dog", 1, "x"), (prompt, "dog", "cat", 1, "y"), (prompt, "cat", "dog", 1, "z")]
    held = pd.DataFrame(rows, columns=["prompt", "a", "b", "label", "rater_id"])
    seen = []

    def margins(frame, raters):
        seen.extend(frame.prompt)
        return np.array([1.0 if rater in ("x", "z") else -1.0 for rater in raters])

    assert reward_metrics._flips(margins, held) == 1.0
    assert seen == [prompt] * 4 and list(map(type, seen)) == [type(prompt)] * 4
