"""Where a model computes and in what precision; bfloat16 where this machine is fast at it, tried and not assumed."""

import time
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from raterhf.errors import UserError
from raterhf.recipe import ModelSettings

Model = TypeVar("Model", bound=nn.Module)


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; `auto` is bfloat16 where it is fast. Raises UserError for another name."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name != "auto" and name not in known:
        raise UserError(f"dtype {name!r} is none of auto, {', '.join(known)}")
    return known.get(name) or known["bfloat16" if fast_bf16(device) else "float32"]


def kept_dtype(settings: ModelSettings, device: str) -> torch.dtype:
    """What weights that stay are held in on a device of this type ("cpu", "cuda"); those that learn are held in float32."""
    small = settings.dtype == "bfloat16" or settings.dtype == "auto" and device == "cuda"
    return torch.bfloat16 if settings.train != "all" and small else torch.float32


def place(model: Model, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Model:
    """Move a model to a device, and the language models in it to a dtype, where given; returns it, in the mode that it was in.

    What reads raters and what gives scores stays in float32, and so do the frequencies of rotary positions: rounded to bfloat16, they
    would put far tokens elsewhere.
    """
    model.to(device)
    for trunk in _trunks(model) if dtype is not None else []:
        for name, tensor in [*trunk.named_parameters(), *trunk.named_buffers()]:
            if tensor.is_floating_point() and "inv_freq" not in name:
                tensor.data = tensor.data.to(dtype)
    return model


def _trunks(model: nn.Module) -> list[PreTrainedModel]:
    """The language models in a module: itself, a policy's, a reward model's."""
    if isinstance(model, PreTrainedModel):
        return [model]
    return [trunk for part in model.children() for trunk in _trunks(part)]


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
