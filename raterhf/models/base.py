"""A pretrained model that stays as it is, held once, and models that lie on it.

Policy, reference, reward model and the candidates of a comparison are module trees of their own over the same frozen tensors, each with
adapters of its own (`adapters.py`). So nothing is switched on and off: what one of them computes does not depend on which was asked before,
and gradient checkpointing may compute it again at any time.

A folder of such a model names its base by path, and by a digest that says whether the weights there are still those it was trained on: of a
hub name the commit, of a folder a hash of names, shapes and a sample of the bytes of every tensor, since reading all of them would take as
long as loading. Knows nothing of what lies on it.
"""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import torch
from transformers import PreTrainedModel

from raterhf.errors import UserError
from raterhf.models.four_bit import check_four_bit, four_bit_config
from raterhf.models.load import load_pretrained
from raterhf.models.place import place

SAMPLED = 4096  # bytes of a tensor that the digest reads, half of them at each end


@dataclass(frozen=True, eq=False)
class Base:
    """A frozen language model and where it came from. Every model on it keeps it alive."""

    path: str
    digest: str
    lm: PreTrainedModel
    dtype: torch.dtype  # that it was asked for in
    four_bit: bool = False

    def model(self) -> PreTrainedModel:
        """A language model of modules of its own over the base's tensors, for adapters to be put into."""
        shared = {id(tensor): tensor for tensor in [*self.lm.parameters(), *self.lm.buffers()]}
        return copy.deepcopy(self.lm, shared)

    @property
    def record(self) -> dict[str, str]:
        """What a folder says of it; `held_base` takes it back."""
        load = {"load": "4bit"} if self.four_bit else {}
        return {"path": self.path, "digest": self.digest, "dtype": str(self.dtype).removeprefix("torch.")} | load


_held: WeakSet[Base] = WeakSet()


def find_base(path: str, device: torch.device, dtype: torch.dtype, digest: str | None = None, four_bit: bool = False) -> Base:
    """The base of this path, the one in memory where there is one. With `digest` it must have this one: of a hub name this commit is
    loaded, of a folder whose weights are others a UserError is raised. With `four_bit` it is held so (`four_bit.py`).
    """
    if four_bit:
        check_four_bit(device)
    folder = Path(path)
    if folder.is_dir():
        path, found = str(folder.resolve()), folder_digest(folder)
        if digest not in (None, found):
            raise UserError(
                f"the weights in {path} (digest {found}) are not those that were trained on (digest {digest}); put those back, or "
                "train again"
            )
        digest = found
    for base in _held:
        held = (base.path, base.dtype, base.four_bit)
        if held == (path, dtype, four_bit) and is_on(base.lm.device, device) and digest in (None, base.digest):
            return base
    rounded, there = (four_bit_config(dtype), device) if four_bit else (None, None)
    lm, _ = load_pretrained(path, dtype=dtype, revision=None if folder.is_dir() else digest, device=there, rounded=rounded)
    base = Base(path, digest or lm.config._commit_hash, place(lm.eval().requires_grad_(False), device), dtype, four_bit)
    _held.add(base)
    return base


def is_on(there: torch.device, device: torch.device) -> bool:
    """Whether what lies `there` is on the device asked for: of `cuda` without a number tensors name the number."""
    return there.type == device.type and device.index in (None, there.index)


def folder_digest(folder: Path) -> str:
    """Of all tensors in a folder's safetensors files: names, dtypes, shapes, and some bytes of each."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(size)
            digest.update(header)
            tensors = [entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__"]
            for begin, end in sorted(tensors):
                for at in (begin, max(begin, end - SAMPLED // 2)):
                    file.seek(8 + size + at)
                    digest.update(file.read(min(SAMPLED // 2, end - at)))
    return digest.hexdigest()[:16]
