"""Figures reach the tracker that the recipe names, and what is missing is said before training. Trackers are fakes: no network."""

import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from raterhf.errors import UserError
from raterhf.recipe import Optimisation
from raterhf.recipe_reader import make_recipe
from raterhf.training import fit as fitting
from raterhf.training import loggers, pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


class Line(fitting.L.LightningModule):
    """The loss of step i is w^2 + i; w begins at 0 and stays."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        step, _ = batch
        loss = (self.weight**2).sum() + step
        self.log("train/loss", loss)
        return loss


class Run:
    """What a tracker's package gives for a run."""

    def __init__(self, **begun):
        self.begun, self.logged, self.ended = begun, [], 0

    def log(self, metrics: dict, step: int | None = None) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        self.ended += 1


@pytest.fixture
def trackio(monkeypatch):
    runs = []
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=lambda **begun: runs.append(Run(**begun)) or runs[-1]))
    return runs


def train(folder, logger: str) -> None:
    fitting.fit(Line(), lambda step: None, Optimisation(steps=20, lr=1e-3), folder, {}, logger)


def test_a_stage_is_a_run_of_the_tracker(tmp_path, trackio):
    for stage in ("reward", "sft"):
        train(tmp_path / "pets" / stage, "trackio")
    assert [run.begun for run in trackio] == [{"project": "raterhf", "name": f"pets/{s}", "group": "pets"} for s in ("reward", "sft")]
    for run in trackio:  # Lightning logs every tenth step
        assert [(step, metrics["train/loss"]) for step, metrics in run.logged] == [(9, 9.0), (19, 19.0)] and run.ended == 1


def test_a_stage_that_resumes_has_a_run_of_its_own(tmp_path, trackio):
    loggers.make_logger("trackio", tmp_path / "pets" / "sft", 200)
    assert trackio[0].begun["name"] == "pets/sft from 200"


def test_wandb_ends_its_run_with_the_stage(tmp_path, monkeypatch):
    begun, run = [], Run()
    monkeypatch.setattr(loggers.WandbLogger, "__init__", lambda self, **given: begun.append(given))
    monkeypatch.setattr(loggers.WandbLogger, "experiment", property(lambda self: run))
    monkeypatch.setattr(loggers.WandbLogger, "finalize", lambda self, status: None)
    logger = loggers.make_logger("wandb", tmp_path / "pets" / "sft", 0)
    assert begun == [{"name": "pets/sft", "project": "raterhf", "group": "pets", "save_dir": tmp_path / "pets" / "sft"}]
    logger.finalize("success")
    assert run.ended == 1


def test_a_tracker_that_does_not_start_is_explained(tmp_path, monkeypatch):
    def refuse(self, **given):
        raise RuntimeError("api_key not configured (no-tty)\nmore")

    monkeypatch.setattr(loggers.WandbLogger, "__init__", refuse)
    with pytest.raises(UserError, match=r"logger: wandb does not start: api_key not configured \(no-tty\); run `wandb login`, or set"):
        loggers.make_logger("wandb", tmp_path / "pets" / "sft", 0)


def test_tensorboard_writes_into_the_stage(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(loggers, "TensorBoardLogger", lambda folder, **given: made.update(given, folder=folder))
    loggers.make_logger("tensorboard", tmp_path / "pets" / "sft", 200)
    assert made == {"folder": tmp_path / "pets" / "sft", "name": "tensorboard", "version": "from_0000200"}
    assert issubclass(TensorBoardLogger, loggers.Logger)


RECIPE = {"name": "pets", "data": {"comparisons": "c.csv"}, "reward": {"steps": 1, "lr": 1e-3}}


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_package_that_is_missing_is_named_before_training(tmp_path, monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    recipe = make_recipe(RECIPE | {"logger": name, "runs": str(tmp_path)}, "pets")
    with pytest.raises(
        UserError, match=rf"logger: {name} needs the package {name}, which is not installed: pip install 'raterhf\[{name}\]'"
    ):
        pipeline.train_stage(recipe, "reward", recipe.folder / "reward")
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_wrong_are_explained():
    with pytest.raises(UserError, match="`tensorboard` is called `logger` now; rename it"):
        make_recipe(RECIPE | {"tensorboard": True}, "pets")
    with pytest.raises(UserError, match="`logger` is 'mlflow': input should be 'tensorboard', 'wandb' or 'trackio'"):
        make_recipe(RECIPE | {"logger": "mlflow"}, "pets")
