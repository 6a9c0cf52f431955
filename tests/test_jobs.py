"""Jobs side by side: results in order, errors come out, and the same with one worker."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from raterhf.errors import UserError
from raterhf.evaluation.compare import jobs


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def refuse(why: str) -> None:
    raise UserError(why)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(jobs, "count_cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_results_come_in_order_from_other_processes(two_cores):
    results = jobs.side_by_side([(square, (x,)) for x in (3, 1, 2)])
    assert [value for value, _ in results] == [9, 1, 4]
    assert os.getpid() not in {process for _, process in results}


def test_one_job_runs_here(two_cores):
    assert jobs.side_by_side([(square, (5,))]) == [(25, os.getpid())]
    assert jobs.side_by_side([]) == []


def test_a_jobs_error_is_its_message(two_cores):
    with pytest.raises(UserError, match="the disk is full"):
        jobs.side_by_side([(square, (1,)), (refuse, ("the disk is full",))])


def stay(place: str) -> None:
    Path(place, str(os.getpid())).touch()
    time.sleep(60)


SCRIPT = """
from test_jobs import jobs, stay
if __name__ == "__main__":
    jobs.count_cores = lambda: 2
    jobs.side_by_side([(stay, ({place!r},)), (stay, ({place!r},))])
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_killed_parent_leaves_nobody_behind(tmp_path):
    script, place = tmp_path / "script.py", tmp_path / "workers"
    place.mkdir()
    script.write_text(SCRIPT.format(place=str(place)))
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen([sys.executable, script], env=os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""})
    wait_for(lambda: len(list(place.iterdir())) == 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(Path("/proc", worker.name).is_dir() for worker in place.iterdir()))


def wait_for(true, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
