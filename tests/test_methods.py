"""Vanilla by other methods than RLOO: TRL's losses on our token ids, rewards of sets by hand, and each trained to its end."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from test_recipe import RAW
from test_vanilla import LORA, PROMPTS, RL, SFT, demonstrations, pairs
from test_vanilla import base as base  # a fixture

from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.evaluation import trl_trainers
from raterhf.evaluation.compare.needs import by_trl
from raterhf.evaluation.compare.rivals import check_rivals, jobs
from raterhf.evaluation.methods.base import Work, arguments, load_method
from raterhf.evaluation.methods.darling import distinctness
from raterhf.evaluation.methods.dpo import RenderedDPO, dpo_trainer
from raterhf.models.load import load_model, load_tokenizer
from raterhf.recipe import Recipe
from raterhf.recipe_compare import VanillaSettings, methods
from raterhf.recipe_reader import parse_recipe

pytestmark = pytest.mark.usefixtures("one_thread")
DPO = {"learning_rate": 1.0e-2, "per_device_train_batch_size": 8, "max_steps": 12, "max_length": 32, "beta": 0.5, "logging_steps": 1}
ONLINE = RL | {"max_steps": 6}
ARGS = {
    "rloo": ONLINE, "grpo": ONLINE | {"loss_type": "grpo"}, "dpo": DPO,
    "darling": ONLINE | {"loss_type": "dapo", "scale_rewards": "none"},
}  # fmt: skip


def likes_red(prompts, texts) -> list[float]:
    return [float("red" in text) - 0.1 * len(text) for text in texts]


def test_every_method_is_known():
    assert methods() == sorted(ARGS)


@pytest.mark.parametrize(("method", "means"), [*((method, trl_trainers.ALL) for method in sorted(ARGS)), ("dpo", LORA), ("grpo", LORA)])
def test_each_method_trains_to_its_end_and_writes_a_model(base, tmp_path, method, means):
    sft = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT, seed=0, means=means)
    out = load_method(method).train(Work(sft, pairs(64), PROMPTS, likes_red, ARGS[method], 0, means), tmp_path / "out")
    log = pd.read_csv(out / "log.csv")
    assert len(log) == ARGS[method]["max_steps"] and np.isfinite(log.loss).all()
    # The reference is the SFT model, adapters and all: before the first update nothing differs from it.
    assert log.loss[0] == pytest.approx(math.log(2), abs=1e-4) if method == "dpo" else abs(log.kl[0]) < 1e-5
    assert (out / ("adapter_model.safetensors" if means is LORA else "model.safetensors")).is_file()


def test_dpos_loss_is_that_of_its_paper_on_our_token_ids(base, tmp_path):
    frame = pd.DataFrame({"prompt": PROMPTS, "chosen": ["red", "green"], "rejected": ["blue", "purple"]})
    trainer = dpo_trainer(Work(base, frame, PROMPTS, likes_red, DPO | {"per_device_train_batch_size": 2}, 0), tmp_path / "out", RenderedDPO)
    torch.manual_seed(0)
    for parameter in trainer.model.parameters():  # a policy that is not the reference
        parameter.data += 0.05 * torch.randn_like(parameter)
    loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    renderer, reference = Renderer(load_tokenizer(base), 32), load_model(base)

    def log_prob(model, prompt: str, text: str) -> float:
        example = renderer.example(prompt, text)
        with torch.no_grad():
            table = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        return sum(table[i - 1, example.ids[i]].item() for i in range(example.prompt_length, len(example)))

    by_hand = 0.0
    for row in frame.itertuples():
        gains = [log_prob(trainer.model, row.prompt, text) - log_prob(reference, row.prompt, text) for text in (row.chosen, row.rejected)]
        by_hand += math.log1p(math.exp(-0.5 * (gains[0] - gains[1]))) / 2
    assert loss.item() == pytest.approx(by_hand, abs=1e-4)


def test_dpo_prefers_what_was_chosen(base, tmp_path):
    sft = trl_trainers.train_sft(base, tmp_path / "sft", demonstrations(16), SFT | {"max_steps": 20}, seed=0)
    out = load_method("dpo").train(Work(sft, pairs(64), PROMPTS, likes_red, DPO, 0), tmp_path / "out")
    log = pd.read_csv(out / "log.csv")
    assert log["rewards/margins"].iloc[-1] > log["rewards/margins"].iloc[0] + 0.2 and log.loss[0] == pytest.approx(math.log(2), abs=1e-4)


def test_distinctness_is_the_share_of_the_others_that_say_something_else():
    same, other = [1.0, 0.0], [0.0, 1.0]
    features = torch.tensor([same, same, other, [0.8, 0.6], same, same, same, same])
    # In the first group .8 and .6 are both near.
    assert np.allclose(distinctness(features, 4), [1 / 3, 1 / 3, 2 / 3, 0, 0, 0, 0, 0])
    assert np.allclose(distinctness(features, 4, near=0.7), [1 / 3, 1 / 3, 1, 1 / 3, 0, 0, 0, 0])


def test_another_method_takes_vanillas_updates_and_leaves_what_it_does_not_know():
    vanilla = VanillaSettings(rl={"max_steps": 5, "learning_rate": 1e-3, "num_generations": 8})
    assert arguments("dpo", vanilla, {"learning_rate": 1e-4}) == {"max_steps": 5, "learning_rate": 1e-4}
    assert arguments("grpo", vanilla, {}) == vanilla.rl
    # Vanilla's own keeps all, so that a slip of the pen is refused.
    assert arguments("rloo", VanillaSettings(rl={"max_step": 5}), {}) == {"max_step": 5}


def compared(**rivals):
    vanilla = {"rl": {"max_steps": 3, "num_generations": 2, "per_device_train_batch_size": 2}}
    return parse_recipe(RAW | {"vanilla": vanilla, "compare": {"rivals": rivals, "vanilla_betas": [0.1]}}, "tiny.yaml")


def test_a_rival_is_trained_at_its_main_strength_and_with_sweeps_at_all():
    recipe = compared(
        best={"policy": {"algorithm": "best_of_n"}, "sweep": {"samples": [4, 2]}}, hot={"sampled": {"temperature": 2.0}},
        pairs={"vanilla": {"method": "dpo"}, "sweep": {"beta": [0.1, 0.3, 1.0]}},
    )  # fmt: skip

    def trained(name: str, sweep: bool) -> list[tuple]:
        return [tuple(part for part in job[1] if not isinstance(part, Recipe | str)) for job in jobs(recipe, "labels", name, sweep)]

    home = recipe.folder
    assert trained("best", False) == [(home / "policy-best",)]
    assert trained("best", True) == [(home / "policy-best",), (home / "policy-best-samples-2",)]
    assert trained("pairs", True)[1] == (home / "vanilla" / "rival-pairs-beta-0.3", {"beta": 0.3}) and len(trained("pairs", True)) == 3
    assert trained("hot", True) == []
    assert by_trl(recipe) >= {"hot", "pairs", "vanilla"} and "best" not in by_trl(recipe)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"policy": {"algorithm": "dpo", "options": {"nobodi": 1}}}, "policy.options.nobodi.*did you mean `policy.options.nobody`"),
        ({"policy": {"algorithm": "dpp"}}, "`algorithm` of a rival is 'dpp'; it is one of best_of_n, dpo"),
        ({"policy": {}, "sweep": {"options.choices": [0]}}, "choices` is 0"),
        ({"vanilla": {"method": "dpo", "learnin_rate": 1.0}}, "DPOConfig has no argument 'learnin_rate'. Did you mean 'learning_rate'"),
        ({"vanilla": {"method": "grpo", "loss_type": "grpo", "beta": "1e-3"}}, "Write a number"),
    ],
)
def test_a_rivals_settings_are_checked_before_anything_is_trained(settings, says):
    with pytest.raises(UserError, match=says):
        check_rivals(compared(other=settings), ["other"])
