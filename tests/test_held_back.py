"""Evaluation on what is held back: the best weights are kept, a stage that gets no better ends, and both resume exactly."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from adapted import make_recipe, write_labels, write_pretrained
from safetensors.torch import load_file

from raterhf.errors import UserError
from raterhf.models.checkpoint import load_policy
from raterhf.recipe import BaseSettings, Optimisation, SftSettings
from raterhf.training import fit as fitting
from raterhf.training import pipeline
from raterhf.training.held_back import HeldBack
from raterhf.training.policy_module import PolicyModule
from raterhf.training.stages.sft import split

pytestmark = pytest.mark.usefixtures("one_thread")


class Counted:
    """An algorithm whose loss is the policy's only weight: each step of AdamW lowers it."""

    def __init__(self, policy: torch.nn.Module):
        self.policy, self.state = policy, {}

    def batch(self, step: int) -> int:
        return step

    def loss(self, batch: int, step: int):
        return self.policy.weight.sum(), {"loss": self.policy.weight.sum()}


def fitted(
    folder: Path, losses: list[float], patience: int | None = None, stop_at: int | None = None
) -> tuple[torch.nn.Module, list[float]]:
    """A module of one weight trained eight steps, `losses` being what evaluations after steps 2, 4, 6 and 8 find; and the weight there."""
    torch.manual_seed(0)
    policy = torch.nn.Linear(1, 1, bias=False)
    algorithm, weights = Counted(policy), []

    def loss() -> float:
        weights.append(float(policy.weight))
        return losses[held.first // 2 + len(weights) - 1]

    def batch(step: int) -> int:
        if step == stop_at:
            raise KeyboardInterrupt
        return step

    settings = Optimisation(steps=8, lr=0.1, save_every=1)
    held = HeldBack(loss, 2, patience, folder, 8)
    fitting.fit(PolicyModule(policy, algorithm, 0), batch, settings, folder, {}, None, None, None, held)
    return policy, weights


def test_the_best_weights_are_kept(tmp_path, capsys):
    policy, weights = fitted(tmp_path / "sft", [3.0, 1.0, 2.0, 1.5])
    assert len(set(weights)) == 4 and float(policy.weight) == weights[1]
    assert "sft: kept step 4, where the loss on what is held back was least (1.0000)" in capsys.readouterr().out
    logged = pd.read_csv(tmp_path / "sft" / "metrics.csv").dropna(subset="val/loss")
    assert logged["val/loss"].tolist() == [3.0, 1.0, 2.0, 1.5] and logged.step.tolist() == [1, 3, 5, 7]


def test_a_stage_that_gets_no_better_ends(tmp_path, capsys):
    policy, weights = fitted(tmp_path / "sft", [1.0, 2.0, math.nan, 0.5], patience=2)
    assert len(weights) == 3 and float(policy.weight) == weights[0]
    assert "sft: ended at step 6, after 2 evaluations without a better one" in capsys.readouterr().out


@pytest.mark.parametrize("stop_at", [3, 5, 7])
def test_it_resumes_to_the_same_weights(tmp_path, stop_at):
    whole, _ = fitted(tmp_path / "whole", [3.0, 1.0, 2.0, 1.5])
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "sft", [3.0, 1.0, 2.0, 1.5], stop_at=stop_at)
    again, _ = fitted(tmp_path / "sft", [3.0, 1.0, 2.0, 1.5])
    assert torch.equal(again.weight, whole.weight)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("held")
    write_pretrained(folder / "base")
    write_labels(folder)
    return folder


def test_stages_evaluate_on_what_they_were_not_trained_on(made, tmp_path, capsys):
    held = {"held_out": 0.3}
    recipe = make_recipe(made, data=held, reward={"evaluate_every": 2}, sft={"evaluate_every": 2, "patience": 3}, policy=None)
    recipe = recipe.model_copy(update={"runs": str(tmp_path)})
    pipeline.train(recipe)
    out = capsys.readouterr().out
    assert "reward: kept step" in out and "sft: kept step" in out
    for stage in ("reward", "sft"):
        assert pd.read_csv(recipe.folder / stage / "metrics.csv")["val/loss"].notna().sum() == 2
        assert not (recipe.folder / stage / "best").exists()
    load_policy(recipe.folder / "sft")
    assert load_file(recipe.folder / "sft" / "adapter_model.safetensors")


def test_rows_are_split_once_and_both_parts_have_some():
    trained, back = split(1000, 0.3, 7)
    assert sorted([*trained, *back]) == list(range(1000)) and 250 < len(back) < 350
    assert all(np.array_equal(a, b) for a, b in zip((trained, back), split(1000, 0.3, 7)))
    assert len(split(5, 0.0, 0)[0]) == 5
    with pytest.raises(UserError, match="data.held_out 0.0001 keeps 0 of 5 examples .* change it, or drop the key"):
        split(5, 0.0001, 0)


def test_what_cannot_be_evaluated_is_an_error(made, tmp_path):
    recipe = make_recipe(made, data={"held_out": 0.0}, reward={"evaluate_every": 2}).model_copy(update={"runs": str(tmp_path)})
    with pytest.raises(UserError, match="reward.evaluate_every: no comparison is held back .* raise data.held_out, or drop the key"):
        pipeline.train(recipe)
    with pytest.raises(ValueError, match="`patience` counts evaluations, and there are none; set `evaluate_every`"):
        SftSettings(steps=1, lr=0.1, patience=2)
    assert "evaluate_every" not in BaseSettings.model_fields  # which holds nothing back
