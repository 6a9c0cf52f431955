"""Jobs side by side: results in order, errors come out, and the same with one worker."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from raterhf.errors import UserError
from raterhf.evaluation.compare import jobs

MODEL = Path("no-model")


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def refuse(why: str) -> None:
    raise UserError(why)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(jobs, "count_cores", lambda: 2)
    monkeypatch.setattr(jobs, "available_memory", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    jobs._end_processes()


def test_results_come_in_order_from_other_processes(two_cores):
    results = jobs.side_by_side([[(square, (x,))] for x in (3, 1, 2)], MODEL)
    assert [value for value, _ in results] == [9, 1, 4]
    assert os.getpid() not in {process for _, process in results}


def test_processes_stay_for_the_next_jobs_and_begin_with_what_those_need(two_cores):
    jobs.start_processes([square])
    pairs = [[(threads, ())], [(threads, ())]]
    before, after = ({process for _, process in jobs.side_by_side(pairs, MODEL)} for _ in range(2))
    started = {process.pid for process in multiprocessing.active_children()}
    assert before | after <= started and len(started) == 2 and os.getpid() not in started
    with pytest.raises(UserError, match="no"):
        jobs.side_by_side([[(refuse, ("no",))]] * 2, MODEL)
    assert not multiprocessing.active_children()


def listens(x: int) -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_ends_jobs_and_not_processes_that_wait(two_cores):
    heard = signal.getsignal(signal.SIGINT)
    jobs.start_processes([square])  # also while they are starting
    for _ in range(2):
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGINT)
        assert jobs.side_by_side([[(listens, (x,))] for x in (1, 2)], MODEL) == [True, True]
    assert signal.getsignal(signal.SIGINT) is heard


def test_memory_that_waiting_processes_hold_is_theirs_to_work_in(two_cores, monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2**20)
    monkeypatch.setattr(jobs, "available_memory", lambda: 2 * jobs.LIBRARIES)
    assert jobs.fitting(2, tmp_path) == 1
    jobs.side_by_side([[(threads, ())]] * 2, tmp_path)  # one process at a time here, which starts none
    monkeypatch.setattr(jobs, "available_memory", lambda: None)
    jobs.side_by_side([[(threads, ())]] * 2, tmp_path)
    monkeypatch.setattr(jobs, "available_memory", lambda: 2 * jobs.LIBRARIES)
    assert jobs.fitting(2, tmp_path) == 2


def note(place: str, text: str) -> str:
    with open(place, "a") as file:
        file.write(f"{text} ")
    return text


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_of_a_chain_run_in_order_and_the_last_gives_the_result(two_cores, monkeypatch, tmp_path, workers):
    monkeypatch.setattr(jobs, "count_cores", lambda: workers)
    place = str(tmp_path / "order")
    chains = [[(note, (place, f"{name}{i}")) for i in range(length)] for name, length in (("a", 3), ("b", 1), ("c", 2))]
    assert jobs.side_by_side(chains, MODEL) == ["a2", "b0", "c1"]
    order = Path(place).read_text().split()
    assert [[x for x in order if x[0] == name] for name in "abc"] == [["a0", "a1", "a2"], ["b0"], ["c0", "c1"]]
    if workers == 2:
        assert order.index("c0") < order.index("a2")  # chains take turns


def vanish() -> None:
    os.kill(os.getpid(), 9)


def test_a_process_that_the_system_kills_is_named_with_what_to_do(two_cores):
    with pytest.raises(UserError, match="ended from outside, as a system does that runs out of memory; .*OMP_NUM_THREADS=1 one runs"):
        jobs.side_by_side([[(vanish, ())], [(square, (1,))]], MODEL)


def test_what_passes_hold_counts_where_it_is_more_than_the_weights(monkeypatch, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2**20)
    jobs._end_processes()
    monkeypatch.setattr(jobs, "available_memory", lambda: 10 * 2**30)
    assert jobs.fitting(2, tmp_path) == 2
    assert jobs.fitting(2, tmp_path, most=6.0 * 2**30) == 1
    assert "each needs about 7.0 GiB" in capsys.readouterr().err


def test_one_job_runs_here(two_cores):
    assert jobs.side_by_side([[(square, (5,))]], MODEL) == [(25, os.getpid())]
    assert jobs.side_by_side([], MODEL) == []


def test_a_jobs_error_is_its_message(two_cores):
    with pytest.raises(UserError, match="the disk is full"):
        jobs.side_by_side([[(square, (1,))], [(refuse, ("the disk is full",)), (square, (1,))]], MODEL)


def test_progress_over_jobs_is_shown_where_they_show_none(two_cores, capsys):
    jobs.side_by_side([[(square, (x,))] for x in (1, 2, 3)], MODEL, "judging")
    jobs.side_by_side([[(square, (5,))]], MODEL, "judging")
    many, one = capsys.readouterr().err.splitlines()
    assert many.startswith("  judging: 3 jobs in ") and one.startswith("  judging: done in ")


def test_cores_are_those_given_and_no_more_than_omp_num_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    for wanted, cores in ((None, 6), ("", 6), ("4", 4), ("1", 1), ("99", 6), ("3,2", 3), ("0", 6), ("many", 6)):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if wanted is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        assert jobs.count_cores() == cores, wanted


def threads() -> tuple[int, int]:
    return torch.get_num_threads(), os.getpid()


def test_one_thread_that_is_given_stays_one_thread_in_this_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert {process for _, process in jobs.side_by_side([[(threads, ())]] * 2, MODEL)} == {os.getpid()}


def test_no_more_processes_than_memory_holds_and_it_says_so(tmp_path, monkeypatch, capsys):
    jobs._end_processes()
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2**20)
    each = jobs.LIBRARIES + jobs.COPIES * 2**20
    for available, workers in ((None, 4), (4 * each, 4), (4 * each - 1, 3), (each, 1), (0, 1)):
        monkeypatch.setattr(jobs, "available_memory", lambda available=available: available)
        assert jobs.fitting(4, tmp_path) == workers
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "  3 processes instead of 4, since each needs about 1.0 GiB and 4.0 GiB of memory is free" and len(said) == 3


def test_available_memory_is_what_linux_says(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  8 kB\nMemAvailable:       3 kB\n")
    assert jobs.available_memory(tmp_path / "meminfo") == 3072
    assert jobs.available_memory(tmp_path / "nothing") is None


def stay(place: str) -> None:
    Path(place, str(os.getpid())).touch()
    time.sleep(60)


SCRIPT = """
from pathlib import Path
from test_jobs import jobs, stay
if __name__ == "__main__":
    jobs.count_cores = lambda: 2
    jobs.side_by_side([[(stay, ({place!r},))]] * 2, Path("no-model"))
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
