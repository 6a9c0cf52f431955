"""What training takes, by hand: FLOPs and bytes of a model whose numbers can be counted, tokens of texts whose lengths are known."""

import json

import pytest
from small_run import fails, succeeds
from test_training import data as data  # a fixture
from test_training import make_recipe

from raterhf.bench import plan as bench_plan
from raterhf.recipe import Recipe, TrainerSettings
from raterhf.recipe_reader import dump_recipe, parse_recipe
from raterhf.training.budget import MOMENTS, Cost, Devices, cost_of, costs, scoring
from raterhf.training.estimate import estimate, our_numbers, shape_of
from raterhf.training.step_texts import Lengths, Step, Texts, steps_for

# Of a layer: queries and outputs 8 x 8, keys and values 4 x 8 each, three of 8 x 16, norms of queries and keys (4 each) and two of 8.
SMALL = {
    "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "tie_word_embeddings": True,
}  # fmt: skip
TRUNK = 2 * (2 * 64 + 2 * 32 + 3 * 128 + 2 * 4 + 2 * 8) + 8  # and the norm at the end
DEVICES = Devices(1, 80, 1e6, 1e9, 1e5, 1e4, 0.5)


def recipe(**changes) -> Recipe:
    raw = {
        "name": "small", "data": {"comparisons": "c.csv", "demonstrations": "d.csv", "base": "b.csv"},
        "model": {"config": SMALL, "vocab_size": 300, "max_length": 64}, "raters": {"dim": 2, "tokens": 3, "idiosyncratic_dim": 0},
        "base": {"steps": 10, "batch_size": 4, "lr": 1e-3},
        "reward": {"steps": 10, "batch_size": 4, "lr": 1e-3, "off_topic": 2, "demonstrations": 6},
        "sft": {"steps": 10, "batch_size": 4, "lr": 1e-3, "replay": 0.5},
        "policy": {"steps": 10, "batch_size": 16, "lr": 1e-3, "prompts": 2, "raters": 4, "samples": 8, "max_new_tokens": 5, "replay": 0.0},
    }  # fmt: skip
    for section, values in changes.items():
        raw[section] = raw[section] | values
    return parse_recipe(raw, "the test")


def test_flops_of_a_pass():
    """Two a number and token; in attention four a layer, head, dimension and token before, half the text on average."""
    shape = shape_of(recipe().model, "cpu")
    assert shape.forward(10, 6) == 10 * (2 * TRUNK + 4 * 2 * 2 * 4 * 3)
    assert shape.said(7) == 2 * 300 * 8 * 7
    assert (shape.vocabulary, shape.hidden, shape.weights) == (300, 8, 4 * (TRUNK + 300 * 8))


def test_texts_of_a_step():
    """Prompts of 10 tokens, completions of 4, 3 soft tokens where texts are read under a rater."""
    found = steps_for(recipe(), Lengths(10, 4))
    assert found["base"] == Step(Texts(4 * 14, 4 * 4, 14))
    assert found["sft"] == Step(Texts(6 * 17, 6 * 4, 17))
    # Both sides behind their prompt, 2 prompts with a completion more, 6 own answers.
    assert found["reward"].trained.tokens == 4 * (10 + 2 * 4) + 2 * 14 + 6 * 14 and found["reward"].trained.said == 0
    # Two prompts, four raters, four answers of each: 32 answers, in two batches of 16. The reward model reads 16 different ones of each
    # prompt once, the reference all of them under each rater.
    policy = found["policy"]
    assert policy.trained == Texts(16 * 17, 16 * 4, 17)
    assert (policy.sampled, policy.longest, policy.prompt) == (16, 5, 13)
    assert policy.read.tokens == (2 * (10 + 16 * 4) + 8 * (13 + 16 * 4)) / 2 and policy.read.said == 8 * 16 * 4 / 2


@pytest.mark.parametrize(
    ("algorithm", "options", "trained", "read", "sampled"),
    [
        # Groups of 8 of each prompt and rater: scored once a prompt, read by the reference and learned from under each rater.
        ("rloo", {}, 8 * (13 + 8 * 4), 2 * (10 + 32 * 4) + 8 * (13 + 8 * 4), 64),
        # 8 candidates a prompt, of which each rater chooses 2: 16 to learn from, in one batch.
        ("forward_kl", {"choices": 2}, 16 * 17, 2 * (10 + 8 * 4) + 8 * (13 + 8 * 4), 16),
        # The best of 8, 2 a rater and prompt: 128 samples, all of them scored.
        ("best_of_n", {"choices": 2}, 16 * 17, 2 * (10 + 64 * 4), 128),
        # 8 samples of each rater and prompt, all of them scored: 2 of them are learned from, or all, in four batches.
        ("feedme", {"choices": 2}, 16 * 17, 2 * (10 + 32 * 4), 64),
        ("rating_conditioned", {"ratings": 4}, 16 * 17, 2 * (10 + 32 * 4) / 4, 16),
        # 8 pairs, which the reference reads too.
        ("dpo", {}, 8 * (13 + 2 * 4), 8 * (13 + 2 * 4), 0),
        # Nothing is sampled, and what the data hold is read once.
        ("favourites", {"choices": 2}, 16 * 17, 0, 0),
    ],
)
def test_texts_of_each_algorithm(algorithm, options, trained, read, sampled):
    step = steps_for(recipe(policy={"algorithm": algorithm, "options": options}), Lengths(10, 4))["policy"]
    assert (step.trained.tokens, step.read.tokens, step.sampled) == (trained, read, sampled)


def test_seconds_are_of_products_gradients_weights_and_adamw():
    """Forward and backward are three passes; half of 1e6 FLOP/s is reached."""
    asked = recipe()
    shape = shape_of(asked.model, "cpu")
    step = steps_for(asked, Lengths(10, 4))["base"]
    flops = 3 * (shape.forward(56, 14) + shape.said(16))
    alone = cost_of(asked, "base", step, 10, shape, {}, DEVICES)
    assert alone.flops == pytest.approx(10 * flops) and alone.tokens["trained"] == 560
    learned = TRUNK + 300 * 8 + our_numbers(asked, "base", 8)[0]
    assert alone.seconds["products"] == pytest.approx(10 * flops / 5e5)
    assert alone.seconds["AdamW"] == pytest.approx(10 * MOMENTS * learned / 1e5)
    assert alone.seconds["gradients"] == alone.seconds["weights for sampling"] == 0
    four = cost_of(asked, "base", step, 10, shape, {}, Devices(**vars(DEVICES) | {"count": 4}))
    assert four.seconds["products"] == pytest.approx(alone.seconds["products"] / 4)
    assert four.seconds["gradients"] == pytest.approx(10 * 2 * 3 / 4 * 4 * learned / 1e4)
    assert four.seconds["overhead"] == 0
    assert (alone.bound, alone.hours) == ("products", pytest.approx(sum(alone.seconds.values()) / 3600))


def test_what_is_not_held_is_read_again():
    asked = recipe(model={"micro_batch_tokens": 14})
    shape = shape_of(asked.model, "cpu")
    step = steps_for(asked, Lengths(10, 4))["base"]
    trunk, said = shape.forward(56, 14), shape.said(16)
    assert cost_of(asked, "base", step, 1, shape, {}, DEVICES).flops == pytest.approx(3.75 * (trunk + said))
    again = recipe(model={"micro_batch_tokens": 56, "gradient_checkpointing": True})
    assert cost_of(again, "base", step, 1, shape, {}, DEVICES).flops == pytest.approx(4 * trunk + 3 * said)


def test_sampling_waits_for_all_weights_at_each_token():
    asked = recipe()
    shape = shape_of(asked.model, "cpu")
    cost = cost_of(asked, "policy", steps_for(asked, Lengths(10, 4))["policy"], 10, shape, {}, DEVICES)
    assert cost.seconds["weights for sampling"] == pytest.approx(10 * 5 * shape.weights / 1e5)  # 16 samples at once, 5 tokens each


def test_scores_of_a_jury_read_each_text_once():
    asked, lengths = recipe(), Lengths(10, 4)
    shape = shape_of(asked.model, "cpu")
    assert scoring(asked, 6400, 64, lengths, shape, DEVICES).tokens["read"] == 100 * 14
    prefix = recipe(reward={"conditioning": "prefix"})
    assert scoring(prefix, 6400, 64, lengths, shape, DEVICES).tokens["read"] == 6400 * 17


def test_a_plan_of_a_recipe_and_its_data(data, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(make_recipe(data, tmp_path)))
    said = succeeds("plan", path, "--gpus", 8, "--hours", 24, "--scores", 10**6, "--labels", 3200)
    assert "tiny on 8 x A100 80 GB: 19.5 TFLOP/s of which 35% is reached (assumed), 2.04 TB/s from memory, 300 GB/s between devices" in said
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert [rows[stage][1] for stage in ("base", "reward", "sft", "policy", "scoring")] == ["12", "100", "5", "5", "1.00e6"]
    assert "rater vectors" in said and "fits" in said and "within the 24 asked for" in said
    assert said.splitlines()[-1] == "not to be trained so: policy.prompts 2 must be a multiple of 8"
    assert not (tmp_path / "tiny").exists()


def test_a_plan_of_a_shape_reads_no_file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe()))
    lengths = ("--prompt-tokens", 200, "--completion-tokens", 200)
    said = succeeds("plan", path, "--shape", "70b", "--gpus", 64, *lengths, "model.max_length=512", "--raters", 10**5)
    assert "does not fit: lower model.micro_batch_tokens" in said and "weights are not shared out among devices" in said
    assert "25 GB/s between devices" in said  # of several machines
    fails("plan", path, "--shape", "70b", "--prompt-tokens", 200, says="give both, or neither")
    fails("plan", path, "--shape", "9b", *lengths, says="shape '9b' is none of 20m, 0.6b, 1.7b, 8b, 70b")
    fails("plan", path, "--gpu", 81, *lengths, says="--gpu 81: known are GPUs of 24, 40, 48, 80, 141 GiB; give --tflops, --bandwidth")
    fails("plan", path, "--labels", 5, "reward=null", "policy=null", *lengths, says="--labels 5 are for the stage reward")


def test_costs_are_of_every_stage():
    asked = recipe()
    found = costs(asked, steps_for(asked, Lengths(10, 4)), DEVICES, "cpu")
    assert [cost.stage for cost in found] == ["base", "reward", "sft", "policy"] and all(cost.gib > 0 for cost in found)


def test_two_rows_say_what_is_reached_and_what_does_not_shrink(monkeypatch):
    """Products of 1 s and 2 s, half a second of other things, seen in 3.5 s and 5.5 s: half of the FLOP/s, and 1 s of each update."""
    said = {"3m": {"products": 1.0, "AdamW": 0.5}, "5m": {"products": 2.0, "AdamW": 0.5}}
    monkeypatch.setattr(bench_plan, "foretold", lambda recipe, stage, devices: Cost(stage, 1, {}, 0, said[recipe], {}))
    seen = {("sft", "3m"): bench_plan.Measured(3.5, 3, 4), ("sft", "5m"): bench_plan.Measured(5.5, 5, 6)}
    assert bench_plan.calibrated({"3m": "3m", "5m": "5m"}, seen, DEVICES) == pytest.approx((0.5, 1.0))


@pytest.mark.slow
def test_the_plan_is_within_a_quarter_of_what_updates_take(tmp_path):
    """In seconds of the processor and bytes, by one process and by two."""
    out = tmp_path / "plan.json"
    succeeds("bench", "plan", "--out", out)
    for row in json.loads(out.read_text())["rows"]:
        assert row["foretold"] == pytest.approx(row["seconds"], rel=0.25), row
        assert row["bytes"] is None or row["foretold_bytes"] == pytest.approx(row["bytes"], rel=0.25), row


def test_memory_is_of_the_tokens_that_are_known_and_of_the_part_that_a_device_keeps():
    """A reward step of 10 tokens holds less than one of the longest texts. A number that learns takes 12 bytes beside its weight, of eight
    devices that share it out 4 + 16 / 8."""
    asked = recipe()
    longest, known = (estimate(asked, "cpu", tokens) for tokens in (None, {"reward": 10.0}))
    assert known[1].stage == "reward" and known[1].parts["activations"] < longest[1].parts["activations"]
    assert known[0].parts == longest[0].parts
    shared = asked.model_copy(update={"trainer": TrainerSettings(strategy="fsdp")})
    learning = [estimate(shared, "cpu", None, count)[0].parts["gradients, optimiser"] for count in (1, 8)]
    assert learning[1] / learning[0] == pytest.approx(6 / 12)
