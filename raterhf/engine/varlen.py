"""Attention of shared passes by kernels for variable lengths, which compute no masked pair and no padding: on CUDA, without gradients.

A token reads its own segment and what its segment continues. Each is a call of the kernel, the second for all siblings at once, and the two
are put together by how much weight each held (as in Hydragen, Juravsky et al. 2024, section 3.2).

Notation: T tokens of a pass, H heads, d size of a head.
"""

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import AuxRequest, varlen_attn

from raterhf.engine.layout import Forest

# Heads that share keys need a word since torch 2.12; before they needed none.
GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def by_runs(forest: Forest, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Attention [T, H, d] of queries [T, H, d] over keys and values of all tokens, which may have fewer heads."""
    at, most = forest.segments_at, int(forest.lengths[forest.kept :].max())
    out, weight = attend(query, key[forest.offset :], value[forest.offset :], at, at, (most, most), True, scaling)
    for runs in forest.context_runs:
        asked = runs.queries
        before, weight_before = attend(
            query[asked], key[runs.keys], value[runs.keys], runs.queries_at, runs.keys_at, runs.most, False, scaling
        )  # fmt: skip
        share = torch.sigmoid(weight_before - weight[:, asked]).T[..., None]
        out[asked] = torch.lerp(out[asked].float(), before.float(), share).to(out.dtype)
    return out


def attend(
    query: Tensor, key: Tensor, value: Tensor, queries_at: Tensor, keys_at: Tensor, most: tuple[int, int], causal: bool,
    scaling: float | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attention [T, H, d] of runs of queries over runs of keys, and the log-sum of its weights [H, T] before they are shares."""
    window = (-1, 0) if causal else (-1, -1)
    return varlen_attn(  # type: ignore[return-value]  # with `return_aux` it is a pair
        query, key, value, queries_at, keys_at, *most, return_aux=AuxRequest(lse=True), scale=scaling, window_size=window, **GROUPED
    )  # fmt: skip
