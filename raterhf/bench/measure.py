"""Timing: interleaved repeats, medians and spread, against a matrix product measured in the same run."""

import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from raterhf.engine import memory
from raterhf.models.place import matrix_product_rate


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median and range of the repeats, after a warm-up.

    `peak_mib`: the most MiB held at once beyond what was held before, in the warm-up; allocated on CUDA, else resident, which Linux tells.
    """

    median: float
    low: float
    high: float
    warm_up: float
    peak_mib: float | None


def interleaved(runs: dict[str, Callable[[], object]], repeats: int, device: torch.device, what: str) -> dict[str, Timing]:
    """Time every run `repeats` times, taking turns, so that a machine that slows down slows all of them; `what` is shown beside the bar."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    peak: dict[str, float | None] = dict.fromkeys(runs)
    terminal = Console(stderr=True)
    # Drawn between runs only, so that nothing else works while one is timed.
    with Progress(console=terminal, auto_refresh=False, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(what, total=(repeats + 1) * len(runs))
        for turn, (name, run) in product(range(repeats + 1), runs.items()):
            bar.update(task, description=f"{what}: {name}", refresh=True)
            # Only before the warm-up: pages given back must be cleared again, which takes time.
            held = held_memory(device) if turn == 0 else None
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
            if held is not None:
                most = torch.cuda.max_memory_allocated() if device.type == "cuda" else memory.peak()
                peak[name] = (most - held) / 2**20
            bar.advance(task)
    return {
        name: Timing(float(np.median(taken[1:])), min(taken[1:]), max(taken[1:]), taken[0], peak[name]) for name, taken in seconds.items()
    }


def held_memory(device: torch.device) -> int | None:
    """Bytes held now, from which peaks count from here on; None where nobody knows."""
    if device.type != "cuda":
        return memory.reset_peak()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def machine(device: torch.device, dtype: torch.dtype) -> dict:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "device": device.type, "name": name, "threads": torch.get_num_threads(), "dtype": str(dtype).removeprefix("torch."),
        "matrix_product_flops": matrix_product_rate(device, dtype),
        "versions": {package: version(package) for package in ("raterhf", "torch", "transformers")},
    }  # fmt: skip


def processor() -> str:
    """The CPU's name where Linux tells it, or else its architecture."""
    try:
        return re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()
