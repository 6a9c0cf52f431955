"""The reward model: a backbone, a rater, a scalar head in fp32; and the rest of a rater's utility.

Notation: B sequences, T tokens, d hidden size, m soft tokens, k dimensions of taste, o dimensions of idiosyncratic taste.

Where the rater enters is `conditioning`. `prefix`: the rater's soft tokens stand before the prompt and every layer reads them. `suffix`:
the trunk may not attend to them, so that one pass of a completion serves every rater; they read the trunk in every layer, at the positions
after the completion, and the head reads their mean. `head`: they are read by the head alone, s = <w + t(z), h>, with t(z) the rater's token
and h the mean of the last hidden states over the completion.

The utility of completion y for a rater with taste z and idiosyncratic taste e is, in units of Bradley-Terry noise,

    u(x, y; z, e) = s(x, y; z) + sqrt(rho(x)) * gumbel(e . psi(y)),

s the calibrated score, psi a unit feature of the completion and rho(x) the share of a rater's unexplained utility that persists when
the same is asked again; see `idiosyncratic.py`.
"""

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from raterhf.data.example import Batch
from raterhf.models.backbone import HELD_TOKENS, embeddings, with_prefix, with_suffix
from raterhf.models.base import Base
from raterhf.models.idiosyncratic import IdiosyncraticTaste
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import PrefixReader


class RewardModel(nn.Module):
    """Scores completions for raters. `dim` 0 is a rater-free model (encodings `text` and `none`). `base` is what the backbone lies on,
    where its weights stay. `held_tokens`: how many tokens are read at once in training, and held for the backward pass.
    """

    scale: Tensor

    def __init__(
        self, backbone: PreTrainedModel, dim: int, tokens: int, conditioning: str = "head", idiosyncratic: IdiosyncraticTaste | None = None,
        base: Base | None = None,
    ):  # fmt: skip
        super().__init__()
        self.backbone, self.conditioning, self.base = backbone, conditioning, base
        self.held_tokens = HELD_TOKENS
        hidden = backbone.config.hidden_size
        std = embeddings(backbone).weight.std().item()
        self.reader = PrefixReader(dim, 1 if conditioning == "head" else tokens, hidden, std) if dim else None
        self.head = nn.Linear(hidden, 1, bias=False, dtype=torch.float32)
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(hidden))
        self.register_buffer("scale", torch.ones(()))
        self.idiosyncratic = idiosyncratic

    def trunk(self, batch: Batch, prefix: Tensor | None = None) -> Tensor:
        """Mean of the last hidden states over the completion, EOS included, [B, d] in fp32.

        By the mask, never by token ids (PAD may equal EOS).
        """
        states = with_prefix(self.backbone, batch, prefix).float()
        answered = batch.answer[..., None]
        return (states * answered).sum(1) / answered.sum(1)

    def weights(self, raters: RaterBatch) -> Tensor:
        """The raters' own heads [K, d], calibrated (conditioning `head`)."""
        assert self.reader is not None  # a rater-free model has one head for everybody
        token = self.reader(raters).squeeze(1) / self.reader.scale
        return self.scale * (self.head.weight[0] + token / math.sqrt(token.shape[-1]))

    def forward(self, batch: Batch, raters: RaterBatch) -> Tensor:
        """Calibrated scores s [B] in fp32, sequence i for rater i of `raters`.

        `engine/scorer.py` gives the same scores for less.
        """
        if self.reader is not None and self.conditioning == "head":
            return (self.weights(raters) * self.trunk(batch)).sum(-1)
        soft = None if self.reader is None else self.reader(raters)
        if soft is not None and self.conditioning == "suffix":
            return self.scale * self.head(with_suffix(self.backbone, batch, soft).float().mean(1)).squeeze(-1)
        return self.scale * self.head(self.trunk(batch, soft)).squeeze(-1)

    @property
    def decoder(self) -> PreTrainedModel:
        return self.backbone

    @property
    def null_prefix(self) -> Tensor | None:
        """Soft prefix [m, d] of nobody in particular, where the trunk reads one."""
        return self.reader.null if self.reader is not None and self.conditioning == "prefix" else None
