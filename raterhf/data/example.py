"""A rendered example (token ids of prompt and completion) and padded batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Example:
    """Token ids of prompt and completion (EOS included); `ids[prompt_length:]` is the completion."""

    ids: tuple[int, ...]
    prompt_length: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt(self) -> "Example":
        return Example(self.ids[: self.prompt_length], self.prompt_length)


@dataclass(frozen=True)
class Batch:
    """Padded token ids [B, T], `mask` True at real tokens, `answer` True at completion tokens (EOS included)."""

    ids: Tensor
    mask: Tensor
    answer: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.ids.to(device), self.mask.to(device), self.answer.to(device))


def collate(examples: Sequence[Example], pad_id: int, side: str = "right") -> Batch:
    width = max(len(e) for e in examples)
    ids = torch.full((len(examples), width), pad_id)
    mask = torch.zeros(len(examples), width, dtype=torch.bool)
    answer = torch.zeros_like(mask)
    for row, example in enumerate(examples):
        start = 0 if side == "right" else width - len(example)
        ids[row, start : start + len(example)] = torch.tensor(example.ids)
        mask[row, start : start + len(example)] = True
        answer[row, start + example.prompt_length : start + len(example)] = True
    return Batch(ids, mask, answer)


def budget_batches(lengths: Sequence[int], token_budget: int) -> list[np.ndarray]:
    """Indices in batches of near-equal lengths, padded size at most `token_budget` tokens (one longer example goes alone)."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for i in range(len(order)):
        if (i - start + 1) * lengths[order[i]] > token_budget and i > start:
            batches.append(order[start:i])
            start = i
    if len(order):
        batches.append(order[start:])
    return batches
