"""Whole runs on a device that is not there, and on CUDA where it is: every stage trained by Lightning, an opened run, a policy judged and
models probed."""

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from fake_device import CPU, DEVICE, fake_device
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from test_training import FORWARD_KL, RLOO, interrupt, make_recipe
from test_training import data as data  # a fixture

from raterhf.data import prepare
from raterhf.engine import rater_policy
from raterhf.evaluation.compare.policy_metrics import Arena
from raterhf.evaluation.compare.world import _measured
from raterhf.evaluation.probes.load import of_run
from raterhf.evaluation.probes.suite import chosen, run_probes
from raterhf.models import checkpoint
from raterhf.models.place import place
from raterhf.recipe import Recipe
from raterhf.run import open_run
from raterhf.training import fit as fitting
from raterhf.training import pipeline
from raterhf.training.stages import base, reward, sft
from raterhf.worlds.world import load_world

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter"),  # which does copy here
]


class Anywhere(CPUAccelerator):
    """Lightning's, which would refuse the device."""

    def setup_device(self, device: torch.device) -> None:
        pass


@pytest.fixture(params=["fake", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch) -> Iterator[torch.device]:
    """The device that models go to where they are made or loaded, and that Lightning trains on."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        yield torch.device("cuda")
        return
    for module in (base, sft, reward, checkpoint, rater_policy):
        monkeypatch.setattr(module, "pick_device", lambda: DEVICE)
    strategy = lambda: SingleDeviceStrategy(DEVICE, accelerator=Anywhere())  # noqa: E731
    trainer = L.Trainer
    monkeypatch.setattr(fitting.L, "Trainer", lambda **settings: trainer(**settings, strategy=strategy()))
    # Files are written from the CPU: the libraries that write them take `meta` for a place without numbers.
    save, save_file = checkpoint._save_model, checkpoint.save_file

    def save_from_cpu(folder, trunk, model, *rest) -> None:
        save(folder, place(trunk, CPU), place(model, CPU), *rest)

    monkeypatch.setattr(checkpoint, "_save_model", save_from_cpu)
    monkeypatch.setattr(checkpoint, "save_file", lambda tensors, *rest: save_file({k: v.cpu() for k, v in tensors.items()}, *rest))
    with fake_device() as device:
        yield device


def test_an_opened_run(run):
    pairs = [("Roll a die.", str(i)) for i in range(1, 4)]

    def asked(device: torch.device) -> tuple:
        opened = open_run(run, device)
        said = opened.sample(["Roll a die.", "1 2"], "new", 3), opened.sample("Roll a die.", "ann", 2)
        scores = opened.score(pairs, ["new:4x", "ann", "none"]), opened.score(pairs, "new:4x", idiosyncratic=True)
        rewards = opened.reward_function("new")([prompt for prompt, _ in pairs], [answer for _, answer in pairs])
        whole = opened.reward_function("new", idiosyncratic=True)([prompt for prompt, _ in pairs], [answer for _, answer in pairs])
        numbers = np.concatenate([*(table.to_numpy().ravel() for table in scores), opened.log_probs(pairs, "bob"), rewards, whole])
        return [(answer.completion, answer.rater) for answers in said for answer in answers], numbers

    with fake_device():
        found = asked(DEVICE)
    expected = asked(CPU)
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def short(data: Path, runs: Path, **changes) -> Recipe:
    """Two steps of each stage, watched."""
    whole = {stage: {"steps": 2} for stage in ("base", "reward", "sft")} | {"policy": FORWARD_KL | {"steps": 2}} | changes
    recipe = make_recipe(data, runs, monitor={"every": 1, "samples": 16, "prompts": 1}, **whole)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"world": "dice"})})


CHANGES = {"rloo": {"policy": RLOO | {"steps": 2}}, "suffix": {"reward": {"steps": 2, "conditioning": "suffix"}}}


@pytest.mark.parametrize("changes", ["rloo", pytest.param("suffix", marks=pytest.mark.slow)])
def test_all_stages_train(device, data, tmp_path, changes):
    recipe = short(data, tmp_path, **CHANGES[changes])
    pipeline.train(recipe)
    policy, _, _ = checkpoint.load_policy(recipe.folder / "policy")
    assert policy.lm.device.type == device.type
    assert all(np.isfinite(value.cpu().numpy()).all() for value in policy.state_dict().values())


def test_an_interrupted_training_goes_on(device, data, tmp_path, monkeypatch, capsys):
    recipe = short(data, tmp_path, reward={"steps": 5}, sft=None, policy=None).model_copy(update={"monitor": None})
    pipeline.train(recipe.model_copy(update={"reward": None}))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt(patched, at=3)
        pipeline.train(recipe)
    pipeline.train(recipe)
    assert "reward: resuming at step 2 of 5" in capsys.readouterr().out


@pytest.mark.slow
def test_policies_are_judged_and_probed(device, data, tmp_path):
    """After forward KL, with a reward model of conditioning `head`."""
    recipe = short(data, tmp_path)
    pipeline.train(recipe)
    arena = Arena(load_world("dice"), 0, 10, 10, 2, load_world("dice").draw_people(10, 0, "t"), prepare.read_data(recipe))
    figures = _measured(recipe, arena, "rater_new", recipe.folder / "policy", "new").metrics
    assert all(np.isfinite(figures[name]) for name in ("etv", "kl_to_base", "reward_proxy"))
    interview, world = of_run(recipe, recipe.folder, 10, 0)
    found, _ = run_probes(interview, chosen("dice"), world)
    assert set(found["probes"]) == {"dice"}
    assert np.isfinite(interview.distribution("rater_new", world.questions[0], 0.0)).all()
