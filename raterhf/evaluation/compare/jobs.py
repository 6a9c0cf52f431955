"""Independent trainings and judgings side by side: a process each, as many as the cores and the memory given to this program hold.

Cores are those that the process may use (its affinity), and no more than OMP_NUM_THREADS where that is set. With a GPU one after the other,
here.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from raterhf.engine.memory import give_back_freed_memory, keep_freed_memory, resident
from raterhf.errors import UserError
from raterhf.log import show_log
from raterhf.progress import Progress

Job = tuple[Callable[..., Any], tuple]

LIBRARIES = 2**30  # bytes of a process that has imported torch, transformers and trl, and of its data
COPIES = 10  # of a model's weights in a training: itself, gradients, two moments, a reference, a reward model, and what passes keep
COPIES_STAYING = 5  # of weights that stay, which policy, reference and reward model share

_kept: ProcessPoolExecutor | None = None  # processes that wait for the next jobs: to import the libraries takes each some seconds


def side_by_side(
    chains: Sequence[Sequence[Job]], model: Path, title: str | None = None, copies: int = COPIES, most: float = 0.0
) -> list[Any]:  # fmt: skip
    """Results of `run(*arguments)` of the last job of every chain, in order. `model` is the folder of a model of their size, `copies` is
    how often each process holds its weights, and `most` the bytes that one holds where that is known to be more.

    Jobs of one chain run one after the other. Where chains are more than processes they take turns, job by job, so that all end at about
    the same time. With a `title` progress over jobs is shown; without one the jobs show their own. Functions, arguments and results are
    pickled between processes of this program. Each process has its share of the cores, so the sums of floats, and with them the weights,
    may differ from those of a lone training.
    """
    cores = count_cores()
    workers = min(len(chains), cores)
    if workers > 1 and not torch.cuda.is_available():
        workers = fitting(workers, model, copies, most)
    total = sum(map(len, chains))
    with Progress(title, total, "job") if title and total else nullcontext() as progress:
        advance = progress.advance if progress else lambda: None
        if workers < 2 or torch.cuda.is_available():
            return [_one_by_one(chain, advance) for chain in chains]
        try:
            return _in_turns(workers, max(1, cores // workers), chains, advance)
        except BrokenProcessPool as error:
            _end_processes()
            raise UserError(
                "a training or judging was ended from outside, as a system does that runs out of memory; what was trained stays, and "
                "the same command goes on: with OMP_NUM_THREADS=1 one runs at a time; smaller batches (vanilla.*.per_device_train_batch"
                "_size, model.micro_batch_tokens) take less"
            ) from error
        except BaseException:
            _end_processes()
            raise


def start_processes(functions: Sequence[Callable[..., Any]]) -> None:
    """Start the processes of `side_by_side` before their first jobs, to import what these functions need while this process is busy."""
    if count_cores() > 1 and not torch.cuda.is_available():
        for _ in range(count_cores()):
            _submit(_import, *functions)


def _import(*functions: Callable[..., Any]) -> None:
    """To be handed a function imports its module."""


def _submit(run: Callable[..., Any], *arguments: Any) -> Future:
    """To the processes that are kept, which are started where there are none yet."""
    global _kept
    if _kept is None:
        spawn = multiprocessing.get_context("spawn")  # a fork would share torch's threads
        _kept = ProcessPoolExecutor(count_cores(), mp_context=spawn, initializer=_settle)
    if threading.current_thread() is not threading.main_thread():
        return _kept.submit(run, *arguments)
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # by who is started here too: Ctrl-C ends a process that waits with a traceback
    try:
        return _kept.submit(run, *arguments)
    finally:
        signal.signal(signal.SIGINT, heard)


def _end_processes() -> None:
    """Once the jobs that run have ended."""
    global _kept
    if _kept is not None:
        _kept.shutdown(cancel_futures=True)
        _kept = None


def _one_by_one(chain: Sequence[Job], advance: Callable[[], None]) -> Any:
    for run, arguments in chain:
        result = run(*arguments)
        advance()
    return result


def _in_turns(workers: int, threads: int, chains: Sequence[Sequence[Job]], advance: Callable[[], None]) -> list[Any]:
    """At most so many jobs at once. The next job of a chain queues when the one before it is done, behind those that wait already."""
    left = [iter(chain) for chain in chains]
    waiting = deque((i, job) for i in range(len(chains)) if (job := next(left[i], None)))
    results: list[Any] = [None] * len(chains)
    running: dict[Future, int] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            i, job = waiting.popleft()
            running[_submit(_run, threads, *job)] = i
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            i = running.pop(future)
            results[i] = future.result()
            advance()
            if job := next(left[i], None):
                waiting.append((i, job))
    return results


def _run(threads: int, run: Callable[..., Any], arguments: tuple) -> Any:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(*arguments)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.collect()  # modules and trainers refer to each other
        give_back_freed_memory()


def count_cores() -> int:
    """Cores given to this program: those it may run on, at most OMP_NUM_THREADS of them where that is a number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(wanted)) if wanted.isdigit() and int(wanted) else cores


def fitting(workers: int, model: Path, copies: int = COPIES, most: float = 0.0) -> int:
    """How many of so many processes the memory holds, one at least; says so where it holds fewer."""
    need = LIBRARIES + max(copies * sum(file.stat().st_size for file in model.glob("*.safetensors")), int(most))
    available = available_memory()
    if available is None:
        return workers
    available += sum(resident(process.pid) for process in multiprocessing.active_children())  # which the jobs run in
    if workers * need <= available:
        return workers
    fewer = max(1, available // need)
    sys.stderr.write(
        f"  {fewer} process{'es' if fewer > 1 else ''} instead of {workers}, since each needs about {need / 2**30:.1f} GiB and "
        f"{available / 2**30:.1f} GiB of memory is free\n"
    )
    return fewer


def available_memory(proc: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that new processes can have without swapping; None where only Linux would know."""
    if not proc.is_file():
        return None
    row = next((line for line in proc.read_text().splitlines() if line.startswith("MemAvailable:")), None)
    return 1024 * int(row.split()[1]) if row else None


def _settle() -> None:
    keep_freed_memory()
    show_log()
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    # Progress bars of several processes would overwrite each other; lines do not.
    sys.stderr.isatty = lambda: False


def _leave_with_the_parent() -> None:
    """Or a killed `compare` would leave trainings behind that write into the folders of the next one."""
    multiprocessing.parent_process().join()
    os._exit(1)
