"""Timing: interleaved repeats, medians and spread, against a matrix product measured in the same run."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from raterhf.models.precision import matrix_product_rate


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median and range of the repeats, after a warm-up; peak memory in bytes, on CUDA only."""

    median: float
    low: float
    high: float
    warm_up: float
    peak_memory: int | None


def interleaved(runs: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, Timing]:
    """Time every run `repeats` times, taking turns, so that a machine that slows down slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    peak: dict[str, int | None] = dict.fromkeys(runs)
    for _ in range(repeats + 1):
        for name, run in runs.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
                peak[name] = torch.cuda.max_memory_allocated()
            seconds[name].append(time.perf_counter() - start)
    return {
        name: Timing(float(np.median(taken[1:])), min(taken[1:]), max(taken[1:]), taken[0], peak[name]) for name, taken in seconds.items()
    }


def machine(device: torch.device, dtype: torch.dtype) -> dict:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type, "name": name, "threads": torch.get_num_threads(), "dtype": str(dtype).removeprefix("torch."),
        "matrix_product_flops": matrix_product_rate(device, dtype),
        "versions": {package: version(package) for package in ("raterhf", "torch", "transformers")},
    }  # fmt: skip
