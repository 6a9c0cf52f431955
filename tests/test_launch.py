"""How many processes train: what a recipe and a machine allow, their start, and what is said where they do not end by themselves."""

import os
import subprocess
import sys

import pytest
import torch
from small_run import fails
from test_ranks import assert_alike_weights, base_alone
from test_training import data as data  # a fixture
from test_training import make_recipe
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from raterhf.errors import UserError
from raterhf.evaluation.compare.run import compare
from raterhf.recipe import TrainerSettings
from raterhf.recipe_reader import dump_recipe
from raterhf.training import launch, pipeline, ranks
from raterhf.training.launch import check_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def four(monkeypatch):
    """A machine of four cores and no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(launch, "_cores", lambda: 4)


def torchrun(monkeypatch, here: int, whole: int) -> None:
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": here, "WORLD_SIZE": whole}.items():
        monkeypatch.setenv(name, str(value))


def test_processes_are_as_many_as_asked_for(four, monkeypatch):
    assert check_trainer(TrainerSettings(), {"sft.batch_size": 7}) == 1
    assert check_trainer(TrainerSettings(devices=4, strategy="ddp"), {"sft.batch_size": 8}) == 4
    torchrun(monkeypatch, 2, 4)
    assert check_trainer(TrainerSettings(), {"sft.batch_size": 8}) == 4
    assert check_trainer(TrainerSettings(devices=2, num_nodes=2), {"sft.batch_size": 8}) == 4


def test_a_gpu_each_where_there_are_gpus(four, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_trainer(TrainerSettings(devices=2), {}) == 2
    with pytest.raises(UserError, match=r"^3 processes on this machine \(trainer.devices\), which has 2 GPU\(s\); ask for 2 at most$"):
        check_trainer(TrainerSettings(devices=3), {})


@pytest.mark.parametrize(
    ("settings", "shared", "says"),
    [
        ({"devices": 5}, {}, "5 processes on this machine (trainer.devices), which has 4 core(s), and no GPU; ask for 4 at most"),
        ({"devices": 4}, {"sft.batch_size": 6}, "sft.batch_size is 6, which 4 processes cannot share evenly; set it to 8"),
        ({"devices": 2}, {"policy.prompts": 1}, "policy.prompts is 1, which 2 processes cannot share evenly; set it to 2"),
        ({"num_nodes": 2}, {}, "trainer.num_nodes is 2: torchrun starts the processes of several machines, on each of them; run there"),
    ],
)
def test_what_is_refused_before_training(four, settings, shared, says):
    with pytest.raises(UserError) as error:
        check_trainer(TrainerSettings(**settings), shared)
    assert str(error.value).startswith(says)


def test_torchrun_and_recipe_agree(four, monkeypatch):
    torchrun(monkeypatch, 2, 4)
    with pytest.raises(UserError, match=r"^trainer.devices is 3, and torchrun started 2 \(--nproc-per-node\); let them agree"):
        check_trainer(TrainerSettings(devices=3), {})
    with pytest.raises(UserError, match=r"^trainer.num_nodes is 1, and torchrun started 2 \(--nnodes\)"):
        check_trainer(TrainerSettings(num_nodes=1), {})


def test_every_stage_says_what_its_processes_share(data, tmp_path):
    shared = make_recipe(data, tmp_path).shared
    assert shared == {"base.batch_size": 8, "reward.batch_size": 32, "sft.batch_size": 8, "policy.prompts": 2}


def test_nothing_is_begun_where_a_batch_cannot_be_shared(four, data, tmp_path):
    (tmp_path / "recipe.yaml").write_text(dump_recipe(make_recipe(data, tmp_path, trainer={"devices": 3})))
    fails("train", tmp_path / "recipe.yaml", says="base.batch_size is 8, which 3 processes cannot share evenly; set it to 9, or a multiple")
    assert not (tmp_path / "tiny").exists()


def test_compare_is_for_one_process(data, tmp_path):
    with pytest.raises(UserError, match="train the recipe's stages with `raterhf train` on several devices first"):
        compare(make_recipe(data, tmp_path, trainer={"devices": 2}), None, 1)


def test_parts_are_even_and_together_the_whole(monkeypatch):
    """7 rows among 3: 2, 2 and 3; the shares of their means make the mean."""
    monkeypatch.setattr(ranks, "count", lambda: 3)
    rows, values = [], []
    for rank in range(3):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        own = list(range(7))[ranks.part(7)]
        rows += own
        values.append(ranks.share(len(own), 7) * sum(own) / len(own))
    assert rows == list(range(7)) and sum(values) / 3 == pytest.approx(3)


def failure(rank: int, code: int, message: str = "") -> ProcessFailure:
    found = ProcessFailure(rank, 100 + rank, code, "")
    if message:
        found.error_file_data = {"message": {"message": message, "extraInfo": {}}}
    return found


def test_one_message_says_what_ended_the_processes():
    lost = failure(0, 2, f"UserError: {ranks.LOST}")
    assert launch._why({0: lost, 1: failure(1, -9)}) == f"the process of rank 1 was killed (SIGKILL). {launch.ENDED}"
    assert launch._why({0: failure(0, 2, "UserError: a mistake"), 1: lost}) == "a mistake"
    assert launch._why({0: lost, 1: failure(1, 1)}).startswith("the process of rank 1 ended with an error (shown above")


@pytest.fixture
def command(data, tmp_path) -> list[str]:
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(base_alone(data, tmp_path / "several")))
    return [str(path)]


def ran(*command: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        ["-m", "raterhf", "train", "trainer.devices=2"],
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "raterhf", "train"],
    ],
)
def test_the_command_line_and_torchrun_train_by_two(data, tmp_path, command, start):
    pipeline.train(base_alone(data, tmp_path / "one"))
    verb = start.index("train") + 1
    done = ran(sys.executable, *start[:verb], *command, *start[verb:])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("base: training in") == 1 and done.stdout.count("done: ") == 1
    assert_alike_weights(tmp_path / "one" / "tiny" / "base", tmp_path / "several" / "tiny" / "base")


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_gpus_train_as_one_does(data, tmp_path, strategy):
    if torch.cuda.device_count() < 2:
        pytest.skip("fewer than two CUDA devices")
    for name, devices in (("one", 1), ("two", 2)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(dump_recipe(base_alone(data, tmp_path / name)))
        done = ran(sys.executable, "-m", "raterhf", "train", str(path), f"trainer.devices={devices}", f"trainer.strategy={strategy}")
        assert done.returncode == 0, done.stderr
    assert_alike_weights(tmp_path / "one" / "tiny" / "base", tmp_path / "two" / "tiny" / "base")
