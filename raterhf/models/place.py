"""Where a model computes and in what precision; bfloat16 where this machine is fast at it, tried and not assumed."""

import time

import torch

from raterhf.errors import UserError


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto` is bfloat16 where it is fast. Raises UserError for another name."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name != "auto" and name not in known:
        raise UserError(f"dtype {name!r} is none of auto, {', '.join(known)}")
    return known.get(name) or known["bfloat16" if fast_bf16(device) else "float32"]


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here: many processors have it in name only."""
    return matrix_product_rate(device, torch.bfloat16, 1024) > 1.5 * matrix_product_rate(device, torch.float32, 1024)


def matrix_product_rate(device: torch.device, dtype: torch.dtype, largest: int | None = None) -> float:
    """FLOP/s of a square matrix product on this machine now, the best of five: what no layer can exceed.

    The side doubles up to `largest` while a product takes less than a twentieth of a second, so that a dtype which this machine has no
    hardware for is not waited for.
    """
    size, largest = 256, largest or (8192 if device.type == "cuda" else 2048)
    while product_seconds(size, device, dtype) < 0.05 and size < largest:
        size *= 2
    return 2 * size**3 / product_seconds(size, device, dtype, 5)


def product_seconds(size: int, device: torch.device, dtype: torch.dtype, repeats: int = 1) -> float:
    """Seconds of a product of two square matrices, once its kernel is loaded: the least of so many."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    taken = []
    for _ in range(1 + repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
