"""A device that is not there, for machines without a GPU: tensors that say they are on `meta:1`, hold their numbers on the CPU, and
refuse to be mixed with tensors that are not on it.

Within `fake_device()` whatever is made on or moved to `DEVICE` is such a tensor. What is allowed is what CUDA allows: a CPU tensor
without dimensions in a pointwise operation, CPU indices in `x[index]`, and copies. Anything else that mixes raises MixedDevices. Only the
numbers of operations are those of the CPU; kernels and precision of a real device are not tested by this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta", 1)  # `meta` alone is left as it is: transformers makes models there before it loads them
CPU = torch.device("cpu")
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Not pointwise by their tags, though a CPU tensor without dimensions may be the value that they write.
WRITING = {aten.masked_fill.Tensor, aten.masked_fill_.Tensor, aten.fill.Tensor, aten.fill_.Tensor} | INDEXING
# torch makes these itself before any dispatch, and on `meta` without numbers.
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray}


class MixedDevices(RuntimeError):
    """An operation got tensors of the device and of the CPU."""


class OnDevice(torch.Tensor):
    """A tensor on the device; `numbers` holds its numbers."""

    numbers: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "OnDevice":
        made = torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype, device=DEVICE
        )  # fmt: skip
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: object) -> str:
        return f"OnDevice({self.numbers!r})"

    def tolist(self) -> Any:
        """torch refuses it for subclasses; a device allows it."""
        return self.numbers.tolist()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)


def _indices(index: Any) -> Any:
    """Lists and arrays as tensors, which torch else makes on the device itself, without numbers."""
    if isinstance(index, tuple):
        return tuple(map(_indices, index))
    return torch.as_tensor(index) if isinstance(index, list | np.ndarray) else index


def _check(func: Any, args: tuple, kwargs: dict) -> None:
    """Raise MixedDevices where CUDA would refuse these tensors together."""
    if func in COPIES:
        return
    if func in INDEXING:
        # Indices may be on the CPU where what they index is on the device, never the other way round.
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], OnDevice) and any(isinstance(index, OnDevice) for index in indices):
            raise MixedDevices(f"{func}: indices on the device into a tensor on the CPU")
        args = (args[0], *args[2:])
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    others = [x for x in tensors if not isinstance(x, OnDevice)]
    scalars = torch.Tag.pointwise in func.tags or func in WRITING
    if len(others) < len(tensors) and any(x.ndim or not scalars for x in others):
        shapes = [f"{'device' if isinstance(x, OnDevice) else 'cpu'} {tuple(x.shape)}" for x in tensors]
        raise MixedDevices(f"{func}: {', '.join(shapes)}")


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on the numbers; what comes out is on the device where its inputs were, or where it is told to go."""
    inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, OnDevice)]
    target = kwargs.get("device")
    on_device = bool(inputs) if target is None else torch.device(target) == DEVICE
    if func is aten.copy_.default:
        on_device = isinstance(args[0], OnDevice)
    _check(func, args, kwargs)
    if on_device and kwargs.get("generator") is not None:
        raise MixedDevices(f"{func}: a generator of the CPU for numbers on the device")
    if target is not None and on_device:
        kwargs = kwargs | {"device": CPU}
    plain_args, plain_kwargs = tree_map(lambda x: x.numbers if isinstance(x, OnDevice) else x, (args, kwargs))
    out = func(*plain_args, **plain_kwargs)
    if not on_device:
        return out
    # What was written in place comes back as the tensor that it is.
    same = {id(x.numbers): x for x in inputs}
    return tree_map(lambda x: (same.get(id(x)) if id(x) in same else OnDevice(x)) if isinstance(x, torch.Tensor) else x, out)


class _Factories(TorchDispatchMode):
    """Sees what is made on the device, or moved to it, from nothing that is there yet."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class _FromNumbers(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in FROM_NUMBERS and kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            return func(*args, **kwargs | {"device": None}).to(DEVICE)
        return func(*args, **kwargs)


@contextmanager
def fake_device() -> Iterator[torch.device]:
    with _Factories(), _FromNumbers():
        yield DEVICE
