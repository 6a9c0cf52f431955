"""One forward pass over texts that share beginnings, in which every shared token goes through the model once.

Texts are a forest of segments, each a run of tokens that continues its parent: prompt -> completion -> rater, say. All tokens lie in one
row without padding, so that every layer but attention works on real tokens only. In attention a segment reads its ancestors and itself,
causally; siblings are put in rows of some hundred tokens that share the keys of their ancestors, so that context is read once a row and
not once a branch (as in Hydragen, Juravsky et al. 2024). Exact, and differentiable like any forward pass.

Works with every model of transformers whose attention goes through its `AttentionInterface`. Layers that carry a state from token to token
(recurrent, convolutional) cannot branch and are refused; sliding windows are kept.

Notation: S segments, T tokens in all, R rows, Q query tokens of a row, C context tokens of a row, H heads, d size of a head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from raterhf.errors import UserError

NAME = "raterhf_shared"
ROW_TOKENS = 256  # siblings of one row: longer rows spend more on masked pairs, shorter ones read the context more often
CALL_PAIRS = 2**21  # query-key pairs of one call of attention on a CPU: more of them leave its cache
PADDING = 1.3  # rows stand in one call of attention as long as padding makes it at most this much larger
ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class Rows:
    """Rows of like size that one call of attention serves; indices into the forest's tokens, `there` False at padding."""

    queries: Tensor  # [R, Q]: tokens of this pass
    context: Tensor  # [R, C]: tokens of all, those kept from earlier passes first
    there: Tensor  # [R, Q]
    mask: Tensor  # [R or 1, Q, C + Q]: what each query may read
    distance: Tensor  # [R or 1, Q, C + Q]: how many tokens back it lies, for sliding windows


@dataclass(frozen=True)
class Forest:
    """Segments laid out for the forward pass: `positions` [T] and the rows of attention; segment s holds tokens start[s] : start[s + 1].

    `kept` tokens were read by earlier passes; segments are counted without theirs.
    """

    start: np.ndarray
    positions: Tensor
    rows: list[Rows]
    kept: int = 0

    def tokens(self, segments: Sequence[int] | np.ndarray) -> np.ndarray:
        """Indices of the tokens of these segments, one after the other."""
        return np.concatenate([np.zeros(0, np.int64)] + [np.arange(self.start[s], self.start[s + 1]) for s in segments])

    @property
    def computed(self) -> int:
        """Query-key pairs that attention computes, padding and masked pairs included."""
        return sum(rows.queries.numel() * (rows.context.shape[1] + rows.queries.shape[1]) for rows in self.rows)


class Keys:
    """What attention reads of tokens that earlier passes read: keys and values of every layer."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extended(self, layer: int, key: Tensor, value: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        """Those kept and these [T, H, d], which are kept too with `keep`."""
        if layer in self.layers:
            before = self.layers[layer]
            key, value = torch.cat([before[0], key]), torch.cat([before[1], value])
        if keep:
            self.layers[layer] = (key, value)
        return key, value


def lay_out(lengths: Sequence[int], parents: Sequence[int], device: torch.device, kept: int = 0) -> Forest:
    """The layout of segments of these lengths, each after its parent (-1: none), which comes before it.

    Of the first `kept` segments the keys are at hand: the others are read.
    """
    lengths, parents = np.asarray(lengths), np.asarray(parents)
    start = np.concatenate([[0], np.cumsum(lengths)])
    first = np.zeros(len(lengths), np.int64)  # position of a segment's first token
    after: dict[int, np.ndarray] = {}  # tokens of a segment's ancestors, by its parent
    children: dict[int, list[int]] = {}
    for s in range(kept, len(lengths)):
        parent = int(parents[s])
        if not -1 <= parent < s or lengths[s] < 1:
            raise ValueError(f"segment {s} of length {lengths[s]} after {parent}: a segment has a token and comes after its parent")
        children.setdefault(parent if parent >= 0 else -1 - s, []).append(s)  # segments without a parent have no siblings
        if parent not in after:
            after[parent] = _tokens_to(parent, parents, start)
        first[s] = len(after[parent])
    context = {s: after[int(parents[s])] for s in range(kept, len(lengths))}
    rows = [row for siblings in children.values() for row in _cut(siblings, lengths)]
    rows.sort(key=lambda row: (lengths[row].sum(), len(context[row[0]])))
    offset, most = int(start[kept]), CALL_PAIRS if torch.device(device).type == "cpu" else float("inf")
    # Positions of kept tokens are those of contexts, in which they stand in order.
    positions = np.zeros(start[-1], np.int64)
    for tokens in after.values():
        positions[tokens] = np.arange(len(tokens))
    for s in range(kept, len(lengths)):
        positions[start[s] : start[s + 1]] = first[s] + np.arange(lengths[s])
    parts = [
        _pad([rows[i] for i in part], lengths, start, context, positions, offset, device)
        for part in _like_sized(rows, lengths, context, most)
    ]
    return Forest(start[kept:] - offset, torch.tensor(positions[offset:], device=device), parts, offset)


def _tokens_to(segment: int, parents: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Tokens of a segment and its ancestors, in order; none for -1."""
    chain = []
    while segment >= 0:
        chain.append(segment)
        segment = parents[segment]
    return np.concatenate([np.zeros(0, np.int64)] + [np.arange(start[s], start[s + 1]) for s in reversed(chain)])


def _cut(siblings: list[int], lengths: np.ndarray) -> Iterator[list[int]]:
    """Siblings in rows of at most ROW_TOKENS tokens, a longer one alone."""
    row: list[int] = []
    for s in siblings:
        if row and lengths[row].sum() + lengths[s] > ROW_TOKENS:
            yield row
            row = []
        row.append(s)
    yield row


def _like_sized(rows: list[list[int]], lengths: np.ndarray, context: dict[int, np.ndarray], most: float) -> Iterator[range]:
    """Ranges of rows, sorted by size, that stand in one call of attention, of at most so many query-key pairs where a row allows it."""
    begin, real, wide, deep = 0, 0, 0, 0
    for i, row in enumerate(rows):
        q, c = int(lengths[row].sum()), len(context[row[0]])
        padded = (i - begin + 1) * max(wide, q) * (max(deep, c) + max(wide, q))
        if i > begin and (padded > PADDING * (real + q * (c + q)) or padded > most):
            yield range(begin, i)
            begin, real, wide, deep = i, 0, 0, 0
        real, wide, deep = real + q * (c + q), max(wide, q), max(deep, c)
    yield range(begin, len(rows))


def _pad(rows, lengths, start, context, positions, offset, device) -> Rows:
    """The rows of one call of attention, padded to one size."""
    wide, deep = max(int(lengths[row].sum()) for row in rows), max(len(context[row[0]]) for row in rows)
    queries, keys = np.full((len(rows), wide), offset), np.zeros((len(rows), deep), np.int64)
    segment = np.full((len(rows), wide), -1)
    held = np.zeros((len(rows), deep), bool)
    for i, row in enumerate(rows):
        tokens = np.concatenate([np.arange(start[s], start[s + 1]) for s in row])
        queries[i, : len(tokens)], segment[i, : len(tokens)] = tokens, np.repeat(row, lengths[row])
        keys[i, : len(context[row[0]])], held[i, : len(context[row[0]])] = context[row[0]], True
    own = (segment[:, :, None] == segment[:, None]) & (np.arange(wide)[:, None] >= np.arange(wide))
    mask = np.concatenate([np.broadcast_to(held[:, None], (len(rows), wide, deep)), own], 2)
    distance = positions[queries][:, :, None] - np.concatenate([positions[keys], positions[queries]], 1)[:, None]
    if (mask == mask[:1]).all():
        mask, distance = mask[:1], distance[:1] if (distance == distance[:1]).all() else distance
    place = {"device": device}
    return Rows(
        torch.tensor(queries - offset, **place), torch.tensor(keys, **place), torch.tensor(segment >= 0, **place),
        torch.tensor(mask, **place), torch.tensor(distance, **place),
    )  # fmt: skip


def hidden_states(backbone: PreTrainedModel, inputs: Tensor, forest: Forest, keys: Keys | None = None, keep: bool = False) -> Tensor:
    """Last hidden states [T, hidden] of the forest's tokens, from their input embeddings [T, hidden].

    `keys` are those of the tokens read before; with `keep` those of this pass are added to them.
    """
    refuse_states(backbone)
    with _attention(backbone):
        out = backbone(
            inputs_embeds=inputs[None], position_ids=forest.positions[None], use_cache=False, forest=forest, kept=(keys, keep)
        )  # fmt: skip
    return out.last_hidden_state[0]


def refuse_states(backbone: PreTrainedModel) -> None:
    """Raise UserError, naming them, where the model has layers that cannot branch."""
    kinds = {kind for kind in getattr(backbone.config, "layer_types", None) or []} - ATTENDING
    if kinds or not backbone._supports_attention_backend:
        what = f"layers of kind {', '.join(sorted(kinds))}" if kinds else "layers whose attention transformers does not let us replace"
        raise UserError(
            f"model {backbone.config.model_type}: {what} cannot read a shared beginning once for several continuations; "
            "use a model of attention layers only"
        )


@contextmanager
def _attention(backbone: PreTrainedModel) -> Iterator[None]:
    before = backbone.config._attn_implementation
    backbone.config._attn_implementation = NAME
    try:
        yield
    finally:
        backbone.config._attn_implementation = before


def _shared_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, forest: Forest, kept: tuple[Keys | None, bool],
    scaling: float | None = None, sliding_window: int | None = None, softcap: float | None = None, s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of transformers' interface: query [1, H, T, d], key and value [1, H or fewer, T, d] -> [1, T, H, d]."""
    if softcap is not None or s_aux is not None:
        raise UserError(f"{type(module).__name__}: attention with soft caps or sinks cannot share beginnings; use another model")
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))
    keys, keep = kept
    if keys is not None:
        key, value = keys.extended(module.layer_idx, key, value, keep)
    grouped = query.shape[1] != key.shape[1]
    index, parts = [], []
    for rows in forest.rows:
        reach = torch.cat([rows.context, rows.queries + forest.kept], 1)
        allowed = rows.mask if sliding_window is None else rows.mask & (rows.distance < sliding_window)
        q, k, v = (x.transpose(1, 2) for x in (query[rows.queries], key[reach], value[reach]))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=_open_padding(allowed)[:, None], scale=scaling, enable_gqa=grouped)
        parts.append(out.transpose(1, 2)[rows.there])
        index.append(rows.queries[rows.there])
    # Every token is a query once: the parts, put in order, are all tokens.
    order = torch.argsort(torch.cat(index))
    return torch.cat(parts)[order][None], None


def _open_padding(mask: Tensor) -> Tensor:
    """Padded queries read everything, since a softmax over nothing is NaN; nobody reads their result."""
    return mask | ~mask.any(-1, keepdim=True)


AttentionInterface.register(NAME, _shared_attention)
