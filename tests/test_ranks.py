"""Several processes that train one model: the same steps as one, on the CPU by gloo."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import adapted
import pandas as pd
import pytest
from processes import together
from test_training import FORWARD_KL, STAGES, copy_before, make_recipe, weights
from test_training import data as data  # a fixture

import raterhf
from raterhf.recipe import MonitorSettings, PolicySettings, Recipe
from raterhf.training import pipeline
from raterhf.training.monitor import Monitor
from raterhf.training.policy_module import PolicyModule

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")]
FIGURES = ("loss", "reward", "kl", "entropy", "accuracy", "own_answers", "off_topic", "replay", "tokens", "length", "beta")
POLICY = FORWARD_KL | {"algorithm": "reword", "steps": 10, "batch_size": 12, "prompts": 4}


def assert_alike(one: Path, other: Path, stage: str) -> None:
    """The same loss curve and the same weights, within 1e-5."""
    a, b = (pd.read_csv(run / stage / "metrics.csv").set_index("step") for run in (one, other))
    assert list(a.index) == list(b.index) and list(a.columns) == list(b.columns)
    for name in a.columns.intersection([f"train/{figure}" for figure in FIGURES]):
        assert list(b[name]) == pytest.approx(list(a[name]), rel=1e-5, abs=1e-6, nan_ok=True), name  # rows of looks have none
    assert_alike_weights(one / stage, other / stage)


def assert_alike_weights(one: Path, other: Path) -> None:
    """All but what is fitted when training has ended, to more features than there are prompts: there the last bits of weights decide."""
    there, here = weights(one), weights(other)
    assert there.keys() == here.keys()
    for key, value in there.items():
        if ":idiosyncratic." not in key:
            apart = float((here[key].double() - value.double()).abs().max())
            assert here[key].shape == value.shape and apart <= 1e-5, f"{key}: {apart}"


def trained_by_two(recipe: Recipe, said: Path) -> None:
    assert together(partial(pipeline.train, recipe), said) == [0, 0]


def trained_alone(data: Path, runs: Path, steps: int) -> Recipe:
    few = {stage: {"steps": steps, "save_every": 5} for stage in ("base", "reward", "sft")}
    recipe = make_recipe(data, runs, **few, policy=POLICY | {"steps": steps})
    pipeline.train(recipe)
    return recipe


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory) -> Recipe:
    """Every stage, trained by one process."""
    return trained_alone(data, tmp_path_factory.mktemp("alone"), 10)


@pytest.fixture(scope="module")
def longer(data, tmp_path_factory) -> Recipe:
    return trained_alone(data, tmp_path_factory.mktemp("longer"), 20)


def assert_two_do_as_one(alone: Recipe, stage: str, runs: Path, **changes) -> None:
    """Two processes end with the loss curve and the weights of one, within 1e-5; `changes` of the recipe are theirs alone."""
    recipe = copy_before(alone, stage, runs)
    later = {name: None for name in STAGES[STAGES.index(stage) + 1 :]}
    trained_by_two(recipe.model_copy(update=later | changes), runs)
    assert_alike(alone.folder, recipe.folder, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_train_a_stage_as_one_does(alone, tmp_path, stage):
    """Of the same stages before, since random numbers of samples are by the bits of raters' vectors. The policy's algorithm is reword."""
    assert_two_do_as_one(alone, stage, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_and_after_twenty_steps(longer, tmp_path, stage):
    assert_two_do_as_one(longer, stage, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["forward_kl", "best_of_n", "favourites", "rloo", "feedme", "rating_conditioned", "dpo"])
def test_two_processes_train_by_each_algorithm_as_one_does(alone, tmp_path, algorithm):
    options = {
        "rloo": {"raters": 2, "samples": 4, "options": {"target_kl": 0.5}}, "rating_conditioned": {"options": {"ratings": 3}},
        "dpo": {"options": {"nobody": 0.3}},
        # As the recipe's default. Of other numbers one, 2, ends with a weight of hardly any gradient 1.3e-5 apart, by rounding.
        "forward_kl": {"options": {"choices": 4}},
    }  # fmt: skip
    settings = PolicySettings(**POLICY | {"algorithm": algorithm} | options.get(algorithm, {}))
    one, two = (copy_before(alone, "policy", tmp_path / name, policy=settings) for name in ("one", "two"))
    pipeline.train(one)
    trained_by_two(two, tmp_path)
    assert_alike(one.folder, two.folder, "policy")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    adapted.write_pretrained(folder / "base")
    adapted.write_labels(folder)
    return folder


def adapted_recipe(folder: Path, runs: Path, steps: int, **changes) -> Recipe:
    """Adapters, dropout apart, which each process draws for its own rows; what the model says of itself is replayed."""
    few = {stage: {"steps": steps, "lr": 1e-3} | changes.pop(stage, {}) for stage in ("reward", "sft", "policy")}
    return adapted.make_recipe(folder, runs=str(runs), **few, **changes)


@pytest.mark.parametrize("policy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_train_adapters_as_one_does(pretrained, tmp_path, policy):
    """After 10 steps. After 20 a part of the reward's loss is 1.1e-5 of itself apart."""
    one, two = (adapted_recipe(pretrained, tmp_path / name, 10) for name in ("one", "two"))
    stages = ("reward", "sft", "policy") if policy else ("reward", "sft")
    pipeline.train(one if policy else one.model_copy(update={"policy": None}))
    for i, stage in enumerate(stages):
        trained_by_two(two.model_copy(update={later: None for later in ("reward", "sft", "policy")[i + 1 :]}), tmp_path)
        assert_alike(one.folder, two.folder, stage)
        shutil.copytree(one.folder / stage, two.folder / stage, dirs_exist_ok=True)  # the same to the bit for the next


def test_weights_are_those_that_were_best_on_what_is_kept_back(pretrained, tmp_path):
    """By the first process, which tells the others when to end."""
    alone = {"sft": None, "policy": None}
    reward = {"evaluate_every": 2, "patience": 1, "lr": 3e-2}
    one, two = (adapted_recipe(pretrained, tmp_path / name, 20, reward=reward).model_copy(update=alone) for name in ("one", "two"))
    pipeline.train(one)
    trained_by_two(two, tmp_path)
    a, b = (pd.read_csv(recipe.folder / "reward" / "metrics.csv")["val/loss"].dropna() for recipe in (one, two))
    assert 2 <= len(a) == len(b) < 10 and list(b) == pytest.approx(list(a), rel=1e-2)


def test_the_first_process_watches_and_all_slow_down(alone, tmp_path, monkeypatch):
    """An alarm at each look: the rate of the steps after it is half, in every process."""
    monkeypatch.setattr(Monitor, "_fell", lambda self, counts: ["a question"])
    settings = MonitorSettings(every=5, samples=16, prompts=1, alarm="slow")
    changes = {"monitor": settings, "policy": None}
    one, two = (copy_before(alone, "sft", tmp_path / name, **changes) for name in ("one", "two"))
    pipeline.train(one)
    trained_by_two(two, tmp_path)
    assert_alike(one.folder, two.folder, "sft")
    a, b = (pd.read_csv(recipe.folder / "sft" / "training_curve.csv") for recipe in (one, two))
    assert list(a.step) == list(b.step) == [0, 5, 10]
    quick, slow = (weights(folder / "sft")["model.safetensors:model.embed_tokens.weight"] for folder in (alone.folder, two.folder))
    assert (quick - slow).abs().max() > 1e-4


def in_rank(rank: int, change, act) -> None:
    """`act`, after `change` in the process of this rank."""
    if os.environ["RANK"] == str(rank):
        change()
    act()


def at_step(step: int, do) -> None:
    """Let every policy's training step call `do(loss)` from a step on."""
    before = PolicyModule.training_step

    def training_step(self, batch, i):
        loss = before(self, batch, i)
        return do(loss) if batch[0] == step else loss

    PolicyModule.training_step = training_step


def killed(loss):
    os.kill(os.getpid(), signal.SIGKILL)


def base_alone(data: Path, runs: Path, **changes) -> Recipe:
    return make_recipe(data, runs, base={"steps": 10, "save_every": 4} | changes, reward=None, sft=None, policy=None)


@pytest.mark.parametrize("again", [1, 2])
def test_a_killed_process_ends_the_training_which_resumes_with_any_number(data, tmp_path, again, capfd):
    whole, recipe = base_alone(data, tmp_path / "whole"), base_alone(data, tmp_path / "killed")
    pipeline.train(whole)
    dying = partial(in_rank, 1, partial(at_step, 6, killed), partial(pipeline.train, recipe))
    assert together(dying, tmp_path)[1] == -signal.SIGKILL
    assert not (recipe.folder / "base" / "stage.json").exists()
    capfd.readouterr()
    if again == 1:
        pipeline.train(recipe)
    else:
        assert together(partial(pipeline.train, recipe), tmp_path, again) == [0] * again
    assert capfd.readouterr().out.count("base: resuming at step 4 of 10") == 1
    assert_alike_weights(whole.folder / "base", recipe.folder / "base")


def test_a_loss_that_is_no_number_is_said_with_its_step_and_process(data, tmp_path):
    broken = partial(at_step, 2, lambda loss: loss * float("nan"))
    codes = together(partial(in_rank, 1, broken, partial(pipeline.train, base_alone(data, tmp_path))), tmp_path)
    assert 1 in codes
    said = [(tmp_path / str(rank)).read_text() for rank, code in enumerate(codes) if code == 1]
    assert {"UserError: the loss is nan at step 3 on rank 1 of 2: the training diverged; lower the learning rate of this stage"} == set(
        said
    )


def test_other_versions_on_a_process_are_said_before_training(data, tmp_path):
    older = partial(setattr, raterhf, "__version__", "0.0.9")
    codes = together(partial(in_rank, 1, older, partial(pipeline.train, base_alone(data, tmp_path))), tmp_path)
    said = [(tmp_path / str(rank)).read_text() for rank, code in enumerate(codes) if code == 1]
    assert said and all(
        "UserError: the processes of ranks 1 run other versions of raterhf or its libraries than the first" in one for one in said
    )
    assert not (tmp_path / "tiny" / "base").exists()
