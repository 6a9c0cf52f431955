"""A folder has one writer at a time: another is refused and told who holds it, a dead one's place is taken, children write in its name."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import fails, invoke
from test_crash import debris
from test_training import FORWARD_KL, assert_same_weights, make_recipe
from test_training import data as data  # a fixture

from raterhf import lock
from raterhf.errors import UserError
from raterhf.evaluation.compare import jobs
from raterhf.recipe import Recipe
from raterhf.recipe_reader import dump_recipe
from raterhf.training import pipeline

pytestmark = pytest.mark.usefixtures("one_thread")
HOLDER = """
import sys, time
from pathlib import Path
from raterhf import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/run."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_lock_names_its_holder_and_leaves_nothing(tmp_path):
    folder = tmp_path / "runs" / "dice"
    with lock.hold(folder):
        found = json.loads((folder / ".lock").read_text())
        assert found["process"] == os.getpid() and found.keys() == {"host", "process", "since"}
        with lock.hold(folder):  # the same process, further in
            pass
        assert (folder / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    with lock.hold(folder):
        pass
    assert folder.is_dir()  # it was there before


def test_who_comes_second_is_told_who_writes_and_since_when(tmp_path, holder):
    says = rf"run is being written by process {holder.pid} on \S+ since 2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d\S+; wait until it ends"
    with pytest.raises(UserError, match=says), lock.hold(tmp_path / "run"):
        pass
    assert json.loads((tmp_path / "run" / ".lock").read_text())["process"] == holder.pid


def test_a_dead_holders_place_is_taken_and_its_debris_swept(tmp_path, holder, capsys):
    left = tmp_path / "run" / "sft" / ".model.1.partial"
    left.parent.mkdir()
    left.write_text("half")
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with lock.hold_run(tmp_path / "run"):
        assert not left.exists() and json.loads((tmp_path / "run" / ".lock").read_text())["process"] == os.getpid()
    assert re.search(rf"taken over from process {holder.pid} on .*, which has ended", capsys.readouterr().out)


@pytest.mark.parametrize("text", ["", '{"host": "here"', "[1]", "null"])
def test_a_lock_of_which_only_a_part_was_written_is_taken(tmp_path, text):
    (tmp_path / ".lock").write_text(text)
    with lock.hold(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()


def test_a_lock_of_another_host_is_not_taken(tmp_path):
    (tmp_path / ".lock").write_text(json.dumps({"host": "node7", "process": 12, "since": "2026-11-30 09:00:00+00:00"}))
    says = rf"process 12 on node7 since 2026.*cannot see whether it still runs; when it does not, remove {tmp_path}/.lock and run again"
    with pytest.raises(UserError, match=says), lock.hold(tmp_path):
        pass
    assert (tmp_path / ".lock").exists()


def test_a_lock_that_its_holder_removes_meanwhile_is_not_the_one_that_is_taken(tmp_path, monkeypatch):
    """Between our opening the file and locking it the holder may end and a third process begin."""
    path, original, opened = tmp_path / ".lock", lock._open, []

    def late(place: Path) -> int:
        opened.append(original(place))
        if len(opened) == 1:
            place.unlink()
        return opened[-1]

    monkeypatch.setattr(lock, "_open", late)
    with lock.hold(tmp_path):
        assert len(opened) == 2 and os.path.samestat(os.fstat(opened[1]), path.stat())


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.hold(tmp_path):
        pass
    assert "this file system has no locks (Operation not supported)" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made a folder that is written into .*; give another one, with runs=FOLDER or --out"):
        with lock.hold(tmp_path / "file" / "run"):
            pass


def test_probes_do_not_write_where_another_process_does(tmp_path, holder, run):
    fails("probe", run, "--probes", "numbers", "-n", 2, "--out", tmp_path / "run", says=f"is being written by process {holder.pid}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.parametrize("recipe", ["dice", "own"])
def test_comparisons_do_not_write_where_another_process_does(tmp_path, holder, recipe):
    path = Path(__file__).parents[1] / "recipes" / f"{recipe}.yaml"
    fails("compare", path, f"runs={tmp_path}", "name=run", says=f"is being written by process {holder.pid}")


def train_in_child(recipe: Recipe, place: Path) -> int:
    """`raterhf train` in a process of its own, which goes on with the stage when the file `go` is there; what it says stands in NUMBER."""
    path, original = place / f"{recipe.seed}.yaml", pipeline.train_stage
    path.write_text(dump_recipe(recipe))

    def when_told(*arguments):
        while not (place / "go").exists():
            time.sleep(0.01)
        original(*arguments)

    child = os.fork()
    if child == 0:
        try:
            pipeline.train_stage = when_told
            result = invoke("train", path)
            (place / str(os.getpid())).write_text(result.stderr)
            os._exit(result.exit_code)
        finally:
            os._exit(1)
    return child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_of_two_trainings_at_once_one_ends_and_the_other_is_refused(data, tmp_path):
    """The winner's model is that of its recipe; nothing of the other's is there."""
    recipes = [one_stage(data, tmp_path / "runs", seed) for seed in (0, 1)]
    both = [train_in_child(recipe, tmp_path) for recipe in recipes]
    loser, status = os.wait()
    winner = both[1 - both.index(loser)]
    said = (tmp_path / str(loser)).read_text()
    assert os.waitstatus_to_exitcode(status) == 2 and loser in both
    assert re.fullmatch(rf"Error: .*tiny is being written by process {winner} on .* since .*\n", said), said
    (tmp_path / "go").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(winner, 0)[1]) == 0
    whole = one_stage(data, tmp_path / "whole", both.index(winner))
    pipeline.train(whole)
    assert_same_weights(tmp_path / "runs" / "tiny" / "base", whole.folder / "base")
    assert debris(tmp_path / "runs") == []


def one_stage(data: Path, runs: Path, seed: int) -> Recipe:
    return make_recipe(data, runs, seed=seed, base={"steps": 2}, reward=None, sft=None, policy=None)


@pytest.mark.slow
def test_the_processes_that_a_holder_starts_train_in_its_name(data, tmp_path, monkeypatch):
    """As `compare` trains variants of a recipe side by side."""
    monkeypatch.setattr(jobs, "count_cores", lambda: 2)
    monkeypatch.setattr(jobs, "available_memory", lambda: None)
    few = {"steps": 1}
    recipe = make_recipe(data, tmp_path / "runs", base=few, reward=few, sft=few, policy=FORWARD_KL | few)
    with lock.hold_run(recipe.folder):
        pipeline.train_stage(recipe, "base", recipe.folder / "base")
        other = recipe.folder / "other"
        shutil.copytree(recipe.folder / "base", other / "base")
        changed = recipe.model_copy(update={"runs": str(recipe.folder), "name": "other"})
        chains = [[(pipeline.train_stage, (one, stage, one.folder / stage)) for stage in ("reward", "sft")] for one in (recipe, changed)]
        jobs.side_by_side(chains, recipe.folder / "base")
    for stage in ("reward", "sft"):
        assert_same_weights(recipe.folder / stage, other / stage)
    assert debris(tmp_path / "runs") == []
