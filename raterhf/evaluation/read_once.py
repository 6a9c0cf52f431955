"""Rows that a batch holds several times are read by the model once, and padding not at all: the same numbers and gradients for less work.

A policy repeats itself, and raters compare the same answers; TRL reads each copy, padded to the longest. Exact for a model without dropout,
but for the order in which floats are added. Knows nothing of TRL.
"""

from collections.abc import Callable

import torch
from torch import Tensor

PARTS = 4  # of a batch, by length, each padded to its own longest


def distinct_rows(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [U] of the batch `ids`, `mask` [N, T] that are all different, and for each of the N its place among them."""
    read = torch.cat([ids.masked_fill(mask == 0, -1), mask.to(ids.dtype)], 1)
    different, place = torch.unique(read, dim=0, return_inverse=True)
    first = torch.full((len(different),), len(ids), device=ids.device).scatter_reduce(
        0, place, torch.arange(len(ids), device=ids.device), "amin"
    )
    return first, place


def score_once(model: Callable[..., Tensor], ids: Tensor, mask: Tensor) -> Tensor:
    """`model(ids, mask)` [N, ...] of right-padded rows [N, T]."""
    rows, place = distinct_rows(ids, mask)
    lengths = mask[rows].sum(1)
    by_length = lengths.argsort(stable=True)
    scores = []
    for part in by_length.tensor_split(min(PARTS, len(rows))):
        longest = int(lengths[part].max())
        scores.append(model(ids[rows[part], :longest], mask[rows[part], :longest]))
    return torch.cat(scores)[by_length.argsort()][place]


def log_probs_once(
    model: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor | None]], ids: Tensor, mask: Tensor, kept: int
) -> tuple[Tensor, Tensor | None]:
    """`model(ids, mask, kept)`: two tables [N, kept] of the last `kept` of T columns, the second one or None, zero where masked.

    Padding on the left stays: where positions are absolute, a row's would move with it.
    """
    rows, place = distinct_rows(ids, mask)
    used = mask.any(0).nonzero().max() + 1
    left_out = min(mask.shape[1] - int(used), kept - 1)
    end = mask.shape[1] - left_out
    tables = model(ids[rows, :end], mask[rows, :end], kept - left_out)
    first, second = (None if table is None else torch.nn.functional.pad(table, (0, left_out))[place] for table in tables)
    return first, second
