"""What a dry run says of memory, against what training takes: bytes that torch has allocated at most, as its profiler counts them."""

import json
from pathlib import Path

import pytest
import torch
from adapted import make_recipe, write_labels
from small_run import fails, succeeds
from transformers import AutoConfig

from raterhf.bench.plan import bytes_of, peak_of
from raterhf.data.example import Example
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.errors import UserError
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_reader import dump_recipe, parse_recipe
from raterhf.training.estimate import check_room, estimate, estimate_text, estimate_vanilla
from raterhf.training.fit import make_optimizer
from raterhf.training.start import new_model, spare_memory

pytestmark = pytest.mark.usefixtures("one_thread")
GIB = 2**30
SHAPES = {
    "1.7B": dict(  # as SmolLM2-1.7B
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32,
        vocab_size=49152,
    ),
    "7B": dict(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32,
        vocab_size=128256,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A pretrained model in which a step's activations are most of the memory, and labels."""
    folder = tmp_path_factory.mktemp("estimated")
    tokenizer = train_tokenizer(["Toss a coin. heads tails"] * 3, 300)
    shape = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    build_model({"model_type": "llama", "head_dim": 16} | shape, tokenizer, 256, 0).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_labels(folder)
    return folder


@pytest.mark.parametrize("stage", ["reward", "sft"])
@pytest.mark.parametrize("train", ["lora", "all"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_update_takes_what_was_estimated(made, stage, train, checkpointing):
    """The second, when the optimiser's moments are there; of texts that fill the tokens that are held twice over."""
    model = {"max_length": 64, "train": train, "lora": {"r": 4} if train == "lora" else None, "micro_batch_tokens": 1024,
             "gradient_checkpointing": checkpointing}  # fmt: skip
    recipe = make_recipe(made, model=model, sft={"batch_size": 32}, reward={"batch_size": 16, "demonstrations": 0})
    source = new_model(recipe.model, [], 0, 2, 64)
    taste = make_idiosyncratic(4, source.lm, source.tokenizer)
    if stage == "sft":
        model = Policy(source.lm, 2, 2, taste, base=source.base).train()
    else:
        model = RewardModel(source.lm.get_decoder(), 2, 2, "head", taste, source.base).train()
    spare_memory(model, recipe.model)
    optimizer = make_optimizer(model, 1e-3, 0.0, {})
    examples = [Example(tuple(torch.randint(5, 250, (64,), generator=torch.Generator().manual_seed(i)).tolist()), 20) for i in range(32)]
    raters = RaterBatch.people(torch.randn(32, 2))

    def step() -> None:
        said = completion_log_probs(model, examples, raters)[0] if stage == "sft" else Scorer(model).pairs(examples, raters)
        said.mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    moments = sum(x.nbytes for state in optimizer.state.values() for x in state.values())
    found = next(one for one in estimate(recipe, "cpu") if one.stage == stage)
    assert found.total == pytest.approx(bytes_of(model) + moments + peak_of(step), rel=0.2)


def shaped(tmp_path: Path, name: str) -> dict:
    config = AutoConfig.for_model("llama", max_position_embeddings=4096, **SHAPES[name])
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(tmp_path / name)
    return {"path": str(tmp_path / name), "train": "lora", "max_length": 512, "lora": None}


@pytest.mark.parametrize(("name", "gib"), [("1.7B", 24), ("7B", 80)])
def test_adapters_of_a_large_model_fit_one_gpu(tmp_path, name, gib):
    write_labels(tmp_path)
    recipe = make_recipe(tmp_path, model=shaped(tmp_path, name))
    assert all(0 < one.total < 0.9 * gib * GIB for one in estimate(recipe, "cuda"))
    assert f"a GPU of {gib} GiB" in estimate_text(recipe, gib) and estimate_text(recipe, gib).endswith(", fits")
    said = estimate_text(make_recipe(tmp_path, model=shaped(tmp_path, name) | {"train": "all"}), gib)
    assert said.endswith(
        "does not fit; lower model.micro_batch_tokens, set model.gradient_checkpointing=true, or train adapters (model.train=lora)"
    )


def test_weights_are_held_once_with_adapters(made):
    lora, whole = (estimate(make_recipe(made, model={"train": t, "lora": None}), "cpu") for t in ("lora", "all"))
    weights = [[one.parts["weights"] for one in found] for found in (lora, whole)]
    base = sum(value.numel() for value in build_weights(made).values()) * 4
    assert weights == [[base] * 3, [base, base, 3 * base]]


def build_weights(made: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(made / "base" / "model.safetensors")


def test_a_dry_run_prints_the_estimate(made, tmp_path):
    (tmp_path / "recipe.yaml").write_text(dump_recipe(make_recipe(made)))
    out = succeeds("train", tmp_path / "recipe.yaml", "--dry-run", "--gpu", 24)
    assert "# memory in GiB, by stage" in out and "# a GPU of 24 GiB" in out and "fits" in out
    assert "# memory in GiB" in succeeds("train", tmp_path / "recipe.yaml", "--dry-run")
    fails(
        "train", tmp_path / "recipe.yaml", "--gpu", 24, says="--gpu 24 asks whether a GPU is large enough, .*add --dry-run".split(", .*")[0]
    )
    lost = json.loads(json.dumps(make_recipe(made).model_dump()))
    lost["model"]["path"] = str(tmp_path / "nowhere")
    assert "memory is not estimated: model" in estimate_text(parse_recipe(lost, "the test"))


def test_a_device_that_is_too_small_is_refused_before_weights_are_read(made):
    recipe = make_recipe(made)
    needed = max(one.total for one in estimate(recipe, "cuda"))
    check_room(recipe, "cuda", needed)
    with pytest.raises(
        UserError, match=r"stage \w+ takes about .* GiB of the device's memory, which has .*lower model.micro_batch_tokens, set"
    ):
        check_room(recipe, "cuda", needed / 1.3)


def test_a_recipe_without_stages_has_nothing_to_estimate(tmp_path):
    """As `train --dry-run` meets it in a recipe that holds data alone."""
    recipe = parse_recipe({"name": "bare", "data": {"comparisons": "c.csv"}, "model": {"config": {"model_type": "qwen3"}}}, "the test")
    assert estimate_text(recipe) == "memory is not estimated: the recipe has no stage, so nothing is trained"


def test_a_reward_model_on_a_model_that_stays_keeps_nothing_of_passes(made):
    whole, frozen = (
        {one.stage: one.parts for one in estimate(make_recipe(made, reward={"frozen": frozen}), "cpu")} for frozen in (False, True)
    )  # fmt: skip
    assert "activations" in whole["reward"] and "activations" not in frozen["reward"]
    assert frozen["sft"] == whole["sft"]


def test_trl_holds_a_padded_batch_whole(made):
    """Twice the batch: activations and logits of twice the tokens, and the same weights."""
    sizes = [
        estimate_vanilla(
            make_recipe(made, vanilla={"sft": {"per_device_train_batch_size": n}, "reward": {"per_device_train_batch_size": 1},
                                       "rl": {"per_device_train_batch_size": 1}}), "cpu",
        )
        for n in (4, 8, 16)
    ]  # fmt: skip
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.01)
    assert sizes[0] > 0
