"""Weights and moments shared out among processes (trainer.strategy fsdp): the same steps as one process, and a state that any number of
them resumes. On the CPU by gloo."""

import os
import signal
from functools import partial

import adapted
import pandas as pd
import pytest
import torch
from processes import together
from test_ranks import alone as alone  # fixtures
from test_ranks import assert_alike_weights, assert_two_do_as_one, at_step, base_alone, in_rank, killed, trained_by_two
from test_ranks import longer as longer
from test_training import STAGES, make_recipe
from test_training import data as data
from torch.distributed.tensor import DTensor

from raterhf.errors import UserError
from raterhf.recipe import Recipe, TrainerSettings
from raterhf.training import launch, pipeline, sharded
from raterhf.training.policy_module import PolicyModule

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")]
FSDP = TrainerSettings(strategy="fsdp")


@pytest.mark.parametrize("stage", [STAGES[0], *(pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES[1:])])
def test_two_processes_share_out_a_stage_and_train_as_one_does(alone, tmp_path, stage):
    assert_two_do_as_one(alone, stage, tmp_path, trainer=FSDP)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_and_after_twenty_steps(longer, tmp_path, stage):
    assert_two_do_as_one(longer, stage, tmp_path, trainer=FSDP)


def parts_checked(recipe: Recipe) -> None:
    """Train, and see at the end of the second step that what learns is this process's part."""

    def check(self, optimizer) -> None:
        held = [(parameter.numel(), parameter.to_local().numel()) for parameter in self.parameters() if isinstance(parameter, DTensor)]
        whole, own = (sum(column) for column in zip(*held))
        assert len(held) == len(list(self.parameters())) and 0.4 * whole < own < 0.6 * whole

    PolicyModule.on_before_optimizer_step = check
    pipeline.train(recipe)


def test_each_process_keeps_its_part_alone_between_steps(data, tmp_path):
    assert together(partial(parts_checked, base_alone(data, tmp_path, steps=2).model_copy(update={"trainer": FSDP})), tmp_path) == [0, 0]


@pytest.mark.parametrize("again", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_training_which_any_number_resumes(data, tmp_path, again, capfd, monkeypatch):
    monkeypatch.setattr(launch, "_cores", lambda: 4)
    whole = base_alone(data, tmp_path / "whole")
    recipe = base_alone(data, tmp_path / "killed").model_copy(update={"trainer": FSDP})
    pipeline.train(whole)
    dying = partial(in_rank, 1, partial(at_step, 6, killed), partial(pipeline.train, recipe))
    assert together(dying, tmp_path)[1] == -signal.SIGKILL
    capfd.readouterr()
    with pytest.raises(UserError, match="was saved with trainer.strategy fsdp, and ddp cannot resume it; set trainer.strategy=fsdp"):
        pipeline.train(recipe.model_copy(update={"trainer": TrainerSettings()}))
    if again == 1:
        pipeline.train(recipe)
    else:
        assert together(partial(pipeline.train, recipe), tmp_path, again) == [0] * again
    assert capfd.readouterr().out.count("base: resuming at step 4 of 10") == 1
    assert_alike_weights(whole.folder / "base", recipe.folder / "base")
    assert not (recipe.folder / "base" / "state").exists()


@pytest.mark.slow
def test_weights_are_those_that_were_best_on_what_is_kept_back(data, tmp_path):
    reward = {"evaluate_every": 2, "patience": 1, "lr": 3e-2, "steps": 20}
    one = make_recipe(data, tmp_path / "one", reward=reward, sft=None, policy=None)
    two = one.model_copy(update={"runs": str(tmp_path / "two"), "trainer": FSDP})
    pipeline.train(one)
    trained_by_two(two, tmp_path)
    a, b = (pd.read_csv(recipe.folder / "reward" / "metrics.csv")["val/loss"].dropna() for recipe in (one, two))
    assert 2 <= len(a) == len(b) and list(b) == pytest.approx(list(a), rel=1e-2)


def test_a_state_holds_tied_weights_once_and_of_one_process_too(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5))
    module[1].weight = module[0].weight
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.tensor([1])).sum().backward()
    optimizer.step()
    sharded.save_shares(tmp_path, 1, module, optimizer, {"beta": 0.5})
    sharded.save_shares(tmp_path, 2, module, optimizer, {"beta": 0.25})
    assert [path.name for path in tmp_path.glob("shares-*")] == ["shares-0000002"]
    kept = [tensor.clone() for tensor in module.parameters()]
    moments = [value.clone() for state in optimizer.state.values() for value in state.values()]
    other = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5))
    other[1].weight = other[0].weight
    fresh = torch.optim.AdamW(other.parameters())
    step, extra = sharded.load_shares(tmp_path, other, fresh)
    assert (step, extra["beta"]) == (2, 0.25) and other[0].weight is other[1].weight
    assert all(torch.equal(a, b) for a, b in zip(kept, other.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(moments, [value for state in fresh.state.values() for value in state.values()]))
    with pytest.raises(UserError, match="cannot be read, or is of another model; delete"):
        sharded.load_shares(tmp_path, torch.nn.Sequential(torch.nn.Embedding(6, 3)), None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {"train": "lora"}}, "with model.train lora most of them stay"),
        ({"reward": {"frozen": True}}, "with reward.frozen most of them stay"),
        ({"monitor": {"alarm": "stop"}}, "`monitor.alarm` stop saves the state where the first process looks"),
    ],
)
def test_what_cannot_be_shared_out_is_said_of_the_recipe(tmp_path, changes, says):
    with pytest.raises(UserError, match=says):
        adapted.make_recipe(tmp_path, **{"model": {"train": "all", "lora": None}} | changes, trainer={"strategy": "fsdp"})
