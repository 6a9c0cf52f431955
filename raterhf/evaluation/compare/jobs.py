"""Independent trainings and judgings side by side: a process each, as many as there are cores. With a GPU one after the other, here."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from raterhf.engine.memory import keep_freed_memory

Job = tuple[Callable[..., Any], tuple]


def side_by_side(jobs: Sequence[Job]) -> list[Any]:
    """Results of `run(*arguments)` of every job, in order. Functions, arguments and results are pickled between processes of this program.

    Each process has its share of the cores, so the sums of floats, and with them the weights, may differ from those of a lone training.
    """
    cores = count_cores()
    workers = min(len(jobs), cores)
    if workers < 2 or torch.cuda.is_available():
        return [run(*arguments) for run, arguments in jobs]
    spawn = multiprocessing.get_context("spawn")  # a fork would share torch's threads
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_settle, initargs=(max(1, cores // workers),)) as pool:
        waiting = [pool.submit(run, *arguments) for run, arguments in jobs]
        try:
            return [job.result() for job in waiting]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settle(threads: int) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    # Progress bars of several processes would overwrite each other; lines do not.
    sys.stderr.isatty = lambda: False


def _leave_with_the_parent() -> None:
    """Or a killed `compare` would leave trainings behind that write into the folders of the next one."""
    multiprocessing.parent_process().join()
    os._exit(1)
