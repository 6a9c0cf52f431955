"""The crash tier: a training killed at each of its file operations, and run again, ends as if nobody had killed it.

A child process counts what Python tells an audit hook of files in the run folder (opened for writing, renamed, removed, made, their mode
changed) and ends by `os._exit` just before the n-th: no `finally` runs, as with a kill. The number of cases is asserted, since
docs/reliability.md states it.
"""

import io
import os
import re
import resource
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from test_training import FORWARD_KL, assert_same_weights, make_recipe, weights
from test_training import data as data  # a fixture

from raterhf.errors import UserError
from raterhf.io import check_whole, write_folder
from raterhf.lock import hold_run
from raterhf.recipe import Recipe
from raterhf.run_folder import find_stage
from raterhf.training import pipeline

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")]
KILLED = 9
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate"}


def killed_at(n: int, place: Path, act: Callable[[], object]) -> bool:
    """Run `act` in a child process that dies just before its n-th file operation in `place`; False where it ends before that."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            count_down(n, place)
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def count_down(n: int, place: Path) -> None:
    left = n

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in CHANGES or (event == "open" and is_written(*arguments[1:])):
            # What is removed in a folder that is removed has a name without it.
            if str(arguments[0]).startswith(str(place)) or (event in CHANGES and not os.path.isabs(str(arguments[0]))):
                left -= 1
                if left == 0:
                    os._exit(KILLED)

    sys.addaudithook(hook)


def is_written(mode: str | None, flags: int) -> bool:
    return bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def debris(runs: Path) -> list[str]:
    return [str(path.relative_to(runs)) for path in runs.rglob("*") if path.name.startswith(".") or path.name in ("state", "logs")]


def base_alone(data: Path, runs: Path, lr: float = 3e-3) -> Recipe:
    return make_recipe(data, runs, base={"steps": 2, "save_every": 1, "lr": lr}, reward=None, sft=None, policy=None)


def all_stages(data: Path, runs: Path, lr: float = 3e-3) -> Recipe:
    few = {"steps": 2, "save_every": 1}
    return make_recipe(data, runs, base=few | {"lr": lr}, reward=few, sft=few, policy=FORWARD_KL | few)


def test_a_folder_that_is_written_over_and_killed_at_any_file_operation(tmp_path):
    """The next writer finds the old files or the new ones, all of them; a reader before it those, or an error."""
    names, cases = ("a.txt", "b.txt", "c/d.txt"), 0

    def fill(text: str, place: Path) -> None:
        (place / "c").mkdir()
        for name in names:
            (place / name).write_text(text)

    def texts() -> set[str]:
        return {(folder / name).read_text() for name in names}

    while True:
        runs = tmp_path / str(cases)
        folder = runs / "model"
        write_folder(folder, partial(fill, "old"))
        (folder / "state").write_text("kept")
        if not killed_at(1 + cases, runs, lambda: write_folder(folder, partial(fill, "new"))):  # noqa: B023
            break
        cases += 1
        with suppress(UserError):
            assert check_whole(folder) and texts() in ({"old"}, {"new"})
        with hold_run(runs):
            assert check_whole(folder) and texts() in ({"old"}, {"new"})
        assert (folder / "state").read_text() == "kept" and os.listdir(runs) == ["model"]
    assert cases >= 15


@pytest.mark.parametrize(
    ("recipe", "every", "at_least"),
    [
        (base_alone, 9, 5),
        pytest.param(base_alone, 1, 45, marks=pytest.mark.slow),
        pytest.param(all_stages, 7, 30, marks=pytest.mark.slow),
    ],
)
def test_a_run_trained_anew_and_killed_at_a_file_operation(data, tmp_path, recipe, every, at_least):
    """Over the models of another recipe. Then a reader gets the old models, the new ones or an error, never a mixture; and either recipe,
    run again, ends with its own bits."""
    old, new = recipe(data, tmp_path / "old", 1e-3), recipe(data, tmp_path / "new")
    pipeline.train(old)
    pipeline.train(new)
    runs, other, cases = tmp_path / "runs", tmp_path / "other", 0
    shutil.copytree(tmp_path / "old", runs)
    while killed_at(1 + every * cases, runs, lambda: pipeline.train(recipe(data, runs))):
        cases += 1
        shutil.copytree(runs, other)
        for stage in new.stages:
            check_read(runs / "tiny" / stage, [old.folder / stage, new.folder / stage])
        for place, whole, lr in ((runs, new, 3e-3), (other, old, 1e-3)):
            pipeline.train(recipe(data, place, lr))
            for stage in new.stages:
                assert_same_weights(place / "tiny" / stage, whole.folder / stage)
            assert debris(place) == []
            shutil.rmtree(place)
        shutil.copytree(tmp_path / "old", runs)
    print(f"{cases} cases")
    assert cases >= at_least


def check_read(folder: Path, whole: list[Path]) -> None:
    """A reader of a stage's folder is refused, or reads one of these models."""
    try:
        find_stage(folder, ())
    except UserError as error:
        assert "run the same `raterhf train` again" in str(error)
    else:
        assert any(same(folder, other) for other in whole)


def same(a: Path, b: Path) -> bool:
    there, here = weights(a), weights(b)
    return there.keys() == here.keys() and all(there[key].equal(here[key]) for key in there)


@pytest.mark.parametrize(("recipe", "sizes"), [(base_alone, 4), pytest.param(all_stages, 16, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_some_size_of_a_file(data, tmp_path, recipe, sizes):
    """A file that grows beyond the limit is the kernel's error, as on a full disk, which Python and safetensors each raise as their own."""
    whole, runs = recipe(data, tmp_path / "whole"), tmp_path / "runs"
    pipeline.train(whole)
    largest = max(path.stat().st_size for path in whole.folder.rglob("*") if path.is_file())
    for part in range(sizes):
        said = tmp_path / "said"
        assert refused_beyond(largest * part // sizes, lambda: pipeline.train(recipe(data, runs)), said)
        assert re.search("(could not be written|cannot be made a folder).*(File too large|os error 27)", said.read_text())
        assert [path for path in debris(runs) if "partial" in path or ".lock" in path] == []
        pipeline.train(recipe(data, runs))
        for stage in whole.stages:
            assert_same_weights(runs / "tiny" / stage, whole.folder / stage)
        assert debris(runs) == []
        shutil.rmtree(runs)


def refused_beyond(size: int, act: Callable[[], object], said: Path) -> bool:
    """Whether `act`, in a child process that can write no file of more bytes, raises UserError; its message stands in `said`."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.stdout = sys.stderr = io.StringIO()  # pytest's are files
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            act()
        except UserError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            said.write_text(str(error))
            code = 0
        except BaseException:
            said.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
