"""Timing: interleaved repeats, medians and spread, against a matrix product measured in the same run."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from raterhf.errors import UserError


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


def matrix_product_rate(device: torch.device, dtype: torch.dtype, size: int | None = None) -> float:
    """FLOP/s of a square matrix product on this machine now, the best of five: what no layer can exceed."""
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = min(interleaved({"product": lambda: a @ b}, 5, device).values(), key=lambda t: t.low).low
    return 2 * size**3 / best


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here, tried and not assumed: many processors have it in name only."""
    return matrix_product_rate(device, torch.bfloat16, 1024) > 1.5 * matrix_product_rate(device, torch.float32, 1024)


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto` is bfloat16 where it is fast."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name != "auto" and name not in known:
        raise UserError(f"dtype {name!r} is none of auto, {', '.join(known)}")
    return known.get(name) or known["bfloat16" if fast_bf16(device) else "float32"]


def machine(device: torch.device, dtype: torch.dtype) -> dict:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type, "name": name, "threads": torch.get_num_threads(), "dtype": str(dtype).removeprefix("torch."),
        "matrix_product_flops": matrix_product_rate(device, dtype),
        "versions": {package: version(package) for package in ("raterhf", "torch", "transformers")},
    }  # fmt: skip
