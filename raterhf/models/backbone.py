"""How a language model is read: its window, its logits, and its hidden states beside the soft tokens of a rater."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from raterhf.data.example import Batch

HELD_TOKENS = 2**16  # of a training batch, by default, that stay in memory for the backward pass


def window_of(model: PreTrainedModel) -> float:
    """Positions that a model was made for; infinite where it names none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or math.inf


def embeddings(lm: PreTrainedModel) -> nn.Embedding:
    """The table of a model's token embeddings; transformers types it as any module."""
    return cast(nn.Embedding, lm.get_input_embeddings())


def next_logits(lm: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits of the next token after last hidden states, as the model itself makes them: scaled (Cohere, Granite) or capped (Gemma)."""
    return finished_logits(lm, lm.lm_head(states))


def finished_logits(lm: PreTrainedModel, logits: Tensor) -> Tensor:
    """What a model makes of what its head gives, element by element."""
    config = lm.config.get_text_config()
    if getattr(config, "logit_scale", None):
        logits = logits * config.logit_scale
    if getattr(config, "logits_scaling", None):
        logits = logits / config.logits_scaling
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    return logits


def with_prefix(backbone: PreTrainedModel, batch: Batch, prefix: Tensor | None) -> Tensor:
    """Hidden states [B, T, d] of the tokens of `batch`, the soft prefix [B, m, d] standing first and then cut off.

    Positions count real tokens only, so that padding on either side gives the same result.
    """
    inputs = backbone.get_input_embeddings()(batch.ids)
    mask = batch.mask
    if prefix is not None:
        inputs = torch.cat([prefix.to(inputs.dtype), inputs], 1)
        mask = torch.cat([mask.new_ones(len(mask), prefix.shape[1]), mask], 1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    states = backbone(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, use_cache=False).last_hidden_state
    return states[:, states.shape[1] - batch.ids.shape[1] :]


def with_suffix(backbone: PreTrainedModel, batch: Batch, suffix: Tensor) -> Tensor:
    """Hidden states [B, m, d] of soft tokens [B, m, d] that stand after the tokens of `batch` and read them all."""
    inputs = torch.cat([backbone.get_input_embeddings()(batch.ids), suffix.to(backbone.dtype)], 1)
    mask = torch.cat([batch.mask, batch.mask.new_ones(len(suffix), suffix.shape[1])], 1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    states = backbone(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, use_cache=False).last_hidden_state
    return states[:, batch.ids.shape[1] :]
