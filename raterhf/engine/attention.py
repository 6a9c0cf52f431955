"""One forward pass over texts that share beginnings, in which every shared token goes through the model once.

Every layer but attention works on one row of real tokens; what attention reads of them is laid out in `layout.py`. Exact, and
differentiable like any forward pass.

Works with every model of transformers whose attention goes through its `AttentionInterface` as `sdpa`, its default: importing this file
puts our function there, which hands every call outside of a shared pass to transformers' own. Layers that carry a state from token to token
(recurrent, convolutional) cannot branch and are refused; sliding windows are kept. Soft caps (Gemma 2), which transformers' function does
not know, are computed here, with all scores written out.

Notation: T tokens of a pass, H heads, d size of a head.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from raterhf.engine.layout import Forest, lay_out
from raterhf.engine.varlen import by_runs
from raterhf.errors import UserError

ATTENDING = {"full_attention", "sliding_attention"}
NO_MASK = torch.int8  # of the mask in a shared pass, which has none: no real mask has this dtype, and what reads it as one fails


class Keys:
    """What attention reads of tokens that earlier passes read: keys and values of every layer, in room that doubles when it is full."""

    def __init__(self) -> None:
        self.rooms: dict[tuple[int, int], Tensor] = {}
        self.kept: dict[int, int] = {}  # tokens, by layer

    def extended(self, layer: int, key: Tensor, value: Tensor, before: int, keep: bool) -> tuple[Tensor, Tensor]:
        """The `before` that are kept and these [T, H, d], which are kept too with `keep`. Without gradients: they are written in place.

        Raises UserError where a layer has kept another number: one that asks several times at each token.
        """
        if self.kept.get(layer, 0) != before:
            raise UserError(f"layer {layer} reads keys several times at each token, so that they cannot be kept; score without a session")
        found = self._written((layer, 0), before, key), self._written((layer, 1), before, value)
        if keep:
            self.kept[layer] = before + len(key)
        return found

    def _written(self, which: tuple[int, int], before: int, new: Tensor) -> Tensor:
        room, after = self.rooms.get(which), before + len(new)
        if room is None or len(room) < after:
            with torch.inference_mode(False):  # so that it can be written to in and out of inference mode
                made = torch.empty(2 * after, *new.shape[1:], dtype=new.dtype, device=new.device)
            if room is not None:
                made[:before] = room[:before]
            self.rooms[which] = room = made
        room[before:after] = new
        return room[:after]


def hidden_states(backbone: PreTrainedModel, inputs: Tensor, forest: Forest, keys: Keys | None = None, keep: bool = False) -> Tensor:
    """Last hidden states [T, hidden] of the forest's tokens, from their input embeddings [T, hidden].

    `keys` are those of the tokens read before; with `keep` those of this pass are added to them.
    """
    _know_caps(backbone)
    refuse_states(backbone)
    _refuse_positions(backbone, forest)
    shared = _Pass(forest, keys, keep)
    # transformers hands a mask of four dimensions to the layers as it is.
    no_mask = torch.zeros(1, 1, 1, 1, dtype=NO_MASK, device=inputs.device)
    # Not the module itself: where it is compiled, as sampling may have it, every pass would be a graph of its own.
    out = backbone.forward(
        inputs_embeds=inputs[None], attention_mask=no_mask, position_ids=forest.positions[None], use_cache=False, shared=shared
    )
    if not shared.calls:
        raise UserError(
            f"model {backbone.config.model_type}: its layers have attention of their own and cannot share beginnings; use another model"
        )
    return out.last_hidden_state[0]


def _know_caps(backbone: PreTrainedModel) -> None:
    """From now on attend through our function where layers may have soft caps, for which transformers chose its slowest one."""
    config = backbone.config
    if hasattr(config, "attn_logit_softcapping") and config._attn_implementation == "eager":
        config._attn_implementation = "sdpa"


def refuse_states(backbone: PreTrainedModel) -> None:
    """Raise UserError, naming them, where the model has layers that cannot branch."""
    kinds = {kind for kind in getattr(backbone.config, "layer_types", None) or []} - ATTENDING
    name = backbone.config._attn_implementation
    if kinds or not backbone._supports_attention_backend or name != "sdpa":
        what = f"layers of kind {', '.join(sorted(kinds))}" if kinds else f"attention ({name}) that is not transformers' sdpa"
        raise UserError(
            f"model {backbone.config.model_type}: {what} cannot read a shared beginning once for several continuations; "
            "use a model of layers that all attend through sdpa"
        )


def _refuse_positions(backbone: PreTrainedModel, forest: Forest) -> None:
    """Raise UserError where rotary positions depend on the longest text of a pass, and it is long enough to change those of the others."""
    rope = getattr(backbone.config, "rope_parameters", None) or {}
    for one in rope.values() if all(isinstance(value, dict) for value in rope.values()) else [rope]:
        config = backbone.config
        usual = one.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
        usual = usual or config.max_position_embeddings
        if one.get("rope_type") in ("longrope", "dynamic") and forest.longest > usual and (forest.kept or forest.branches):
            raise UserError(
                f"a text has {forest.longest} tokens, and beyond {usual} the {one['rope_type']} positions of model "
                f"{config.model_type} depend on the longest text read with it; score with deterministic=True, or shorten it"
            )


@dataclass
class _Pass:
    """What the layers are told of a shared pass, and whether they were: `calls` counts how often attention asked."""

    forest: Forest
    keys: Keys | None
    keep: bool
    calls: int = 0


def _attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, *,
    shared: _Pass | None = None, **settings: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' `sdpa`, to the bit, but in a shared pass and with soft caps."""
    told = attention_mask is not None and attention_mask.dtype == NO_MASK
    if shared is None and not told:
        if settings.get("softcap") is not None:
            keys = repeat_kv(key, query.shape[1] // key.shape[1]), repeat_kv(value, query.shape[1] // key.shape[1])
            allowed = _causal(query, key) if attention_mask is None else attention_mask
            return _capped(query, *keys, allowed, settings.get("scaling"), settings["softcap"]).transpose(1, 2), None
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    if shared is None or not told:
        raise UserError(f"{type(module).__name__}: its layers have their own way with masks and cannot share beginnings; use another model")
    return _shared_attention(module, query, key, value, shared, **settings)


def _shared_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, shared: _Pass, scaling: float | None = None,
    sliding_window: int | None = None, softcap: float | None = None, s_aux: Tensor | None = None, **_: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of transformers' interface: query [1, H, T, d], key and value [1, H or fewer, T, d] -> [1, T, H, d]."""
    if s_aux is not None:
        raise UserError(f"{type(module).__name__}: attention with sinks cannot share beginnings; use another model")
    shared.calls += 1
    forest = shared.forest
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))
    if shared.keys is not None:
        layer: int = module.layer_idx  # type: ignore[assignment]  # attention layers of transformers are numbered
        key, value = shared.keys.extended(layer, key, value, forest.offset, shared.keep)
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    within = sliding_window is None or forest.longest <= sliding_window
    alike = value.shape[-1] == query.shape[-1]
    if within and alike and not learns and softcap is None and runs_work(query.device, query.dtype, query.shape[1:], key.shape[1]):
        return by_runs(forest, query, key, value, scaling)[None], None
    return by_rows(forest, query, key, value, scaling, sliding_window, softcap)[None], None


def _causal(query: Tensor, key: Tensor) -> Tensor:
    """Which keys [Q, K] each query may read, the last query standing at the last key."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=key.device).tril(key.shape[-2] - query.shape[-2])


def _capped(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, scaling: float | None, cap: float) -> Tensor:
    """Attention [N, H, Q, d] with scores bounded by cap tanh(score / cap); `allowed` [..., Q, K] is True, or adds 0, at keys to read."""
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = cap * torch.tanh(scores / cap)
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min) if allowed.dtype == torch.bool else scores + allowed
    return torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype) @ value


@cache
@torch.inference_mode()
def runs_work(device: torch.device, dtype: torch.dtype, heads: tuple[int, int], key_heads: int) -> bool:
    """Whether attention by runs works here for `heads` (H, d), and gives what attention by rows gives: tried once, not assumed."""
    if device.type != "cuda" or dtype == torch.float32:
        return False
    forest = lay_out([3, 5, 2, 7], [-1, 0, 0, 1], device)
    drawn = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(forest.start[-1], h, heads[1], generator=drawn).to(device, dtype) for h in (heads[0], key_heads, key_heads)
    )
    try:
        found = by_runs(forest, query, key, value, None)
    except (RuntimeError, TypeError, ValueError):  # no such kernel for this device, or for this build of torch
        return False
    off = (found - by_rows(forest, query, key, value, None, None)).abs().max()
    if not off < 0.05:
        warnings.warn(f"attention by runs of tokens is off by {off:.2g} on {device} in {dtype}: attention by rows is used", stacklevel=2)
    return bool(off < 0.05)


def attention_of(backbone: PreTrainedModel) -> str:
    """How this model's attention is computed where it does not learn: by "runs" or "rows"."""
    config = backbone.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    return "runs" if runs_work(backbone.device, backbone.dtype, (heads, size), keys) else "rows"


def by_rows(
    forest: Forest, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None, cap: float | None = None
) -> Tensor:  # fmt: skip
    """Attention [T, H, d] of queries [T, H, d] over keys and values of all tokens, which may have fewer heads."""
    groups = query.shape[1] // key.shape[1]
    # With a mask, CUDA has a fast kernel for heads of equal number only: else all scores of a call would be written out.
    repeats = groups if query.is_cuda or cap is not None else 1
    # A CPU's kernel goes backward in bfloat16 more slowly than in float32.
    kept = query.dtype
    if query.device.type == "cpu" and kept == torch.bfloat16 and torch.is_grad_enabled() and query.requires_grad:
        query, key, value = query.float(), key.float(), value.float()
    parts = []
    for rows in forest.rows:
        allowed = rows.mask if window is None else rows.mask & (rows.distance < window)
        shape = rows.queries.shape
        asked = _at(query, rows.queries) if rows.first is None else query[rows.first :][: shape.numel()].unflatten(0, shape)
        q, k, v = (x.transpose(1, 2) for x in (asked, _at(key, rows.keys), _at(value, rows.keys)))
        k, v = repeat_kv(k, repeats), repeat_kv(v, repeats)
        if cap is None:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None], scale=scaling, enable_gqa=groups > repeats)
        else:
            out = _capped(q, k, v, allowed[:, None], scaling, cap)
        parts.append(out.transpose(1, 2).flatten(0, 1))
    out = torch.cat(parts).to(kept)
    return out if forest.place is None else _at(out, forest.place)


def _at(x: Tensor, index: Tensor) -> Tensor:
    """x[index] of x [T, H, d], whose gradients embeddings add up many times faster than indexing does."""
    return F.embedding(index, x.flatten(1)).unflatten(-1, x.shape[1:])


# Once, and for every model: what is set for the time of a forward pass is gone when gradient checkpointing computes it again. A name of our
# own would not do: some models ask for "sdpa" by name.
AttentionInterface.register("sdpa", _attention)
