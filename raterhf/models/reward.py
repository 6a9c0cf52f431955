"""The reward model: a backbone, a rater, a scalar head in fp32; and the rest of a rater's utility.

Notation: B sequences, T tokens, d hidden size, m soft tokens, k dimensions of taste, o dimensions of own noise.

Where the rater enters is `site`. `prefix`: the rater's soft tokens stand before the prompt and every layer reads them. `head`: the trunk
may not attend to them, so that one pass of a completion serves every rater; they are read by the head alone, s = <w + t(z), h>, with
t(z) the rater's token and h the last hidden state.

The utility of completion y for a rater with taste z and own noise e is, in units of Bradley-Terry noise,

    u(x, y; z, e) = s(x, y; z) + sqrt(rho(x)) * gumbel(e . psi(y)),

s the calibrated score, psi a unit feature of the completion (its n-grams, rare ones counting most, so that different answers have nearly
independent noise), rho(x) the share of a rater's unexplained utility that persists when the same is asked again.
"""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data.batches import Batch, Example
from raterhf.raters.space import PrefixReader


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


class RewardModel(nn.Module):
    """Scores completions for raters. `dim` 0 is a rater-free model (encodings `text` and `none`)."""

    def __init__(self, backbone: PreTrainedModel, dim: int, tokens: int, own_dim: int, site: str = "head"):
        super().__init__()
        self.backbone, self.site = backbone, site
        hidden = backbone.config.hidden_size
        std = backbone.get_input_embeddings().weight.std().item()
        self.reader = PrefixReader(dim, 1 if site == "head" else tokens, hidden, std) if dim else None
        self.head = nn.Linear(hidden, 1, bias=False, dtype=torch.float32)
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(hidden))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("persistence", torch.zeros(hidden + 1))
        self.own_noise = OwnNoise(own_dim, backbone.config.vocab_size) if own_dim else None

    def trunk(self, batch: Batch, prefix: Tensor | None = None) -> Tensor:
        """Mean of the last hidden states over the completion, EOS included, [B, d] in fp32.

        By the mask, never by token ids (PAD may equal EOS).
        """
        states = with_prefix(self.backbone, batch, prefix).float()
        answered = batch.answer[..., None]
        return (states * answered).sum(1) / answered.sum(1)

    def read(self, states: Tensor, vectors: Tensor, null: Tensor) -> Tensor:
        """Calibrated scores from the trunk's states [..., d] for raters [..., k] (site `head`)."""
        return (self.weights(vectors, null) * states).sum(-1)

    def weights(self, vectors: Tensor, null: Tensor) -> Tensor:
        """The raters' own heads [K, d], calibrated (site `head`)."""
        token = self.reader(vectors, null).squeeze(1) / self.reader.scale
        return self.scale * (self.head.weight[0] + token / math.sqrt(token.shape[-1]))

    def forward(self, batch: Batch, vectors: Tensor | None = None, null: Tensor | None = None) -> Tensor:
        """Calibrated scores s [B] in fp32; `vectors` [B, k] and `null` [B] as for the reader."""
        if self.reader is not None and self.site == "head":
            return self.read(self.trunk(batch), vectors, null)
        prefix = None if self.reader is None else self.reader(vectors, null)
        return self.scale * self.head(self.trunk(batch, prefix)).squeeze(-1)

    def prompt_features(self, batch: Batch) -> Tensor:
        """Mean hidden states [B, d] of the prompts for nobody in particular, in fp32."""
        prefix = None
        if self.reader is not None and self.site == "prefix":
            prefix = self.reader.null.expand(len(batch.ids), -1, -1)
        states = with_prefix(self.backbone, batch, prefix).float()
        asked = (batch.mask & ~batch.answer)[..., None]
        return (states * asked).sum(1) / asked.sum(1).clamp(min=1)

    def persistent_share(self, prompts: Tensor) -> Tensor:
        """rho in [0, 1] from prompt features [B, d] -> [B]."""
        return torch.sigmoid(prompts @ self.persistence[:-1] + self.persistence[-1])


class OwnNoise(nn.Module):
    """psi(y): unit features [B, o] of completions, by which a rater's own noise is one smooth function of the text.

    A random projection of the counts of uni- and bigrams of tokens, case and space folded, each divided by its mean square over the
    training completions: what many answers share counts little, what tells answers apart counts most, so that a rater likes one answer
    alike however it is put.
    """

    BUCKETS = 8192

    def __init__(self, own_dim: int, vocab_size: int):
        super().__init__()
        self.register_buffer("fold", torch.arange(vocab_size) % self.BUCKETS)
        self.register_buffer("weight", torch.ones(self.BUCKETS))
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("directions", torch.randn(self.BUCKETS, own_dim, generator=generator))

    def counts(self, examples: Sequence[Example]) -> list[list[int]]:
        """Buckets of the completion's n-grams, EOS left out."""
        rows, fold = [], self.fold.tolist()
        for example in examples:
            tokens = [fold[t] for t in example.ids[example.prompt_length : -1] or example.ids[-1:]]
            pairs = [(a * 1_000_003 + b * 7919 + 1) % self.BUCKETS for a, b in zip(tokens, tokens[1:])]
            rows.append(2 * tokens + pairs)
        return rows

    def fit(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> None:
        """Fold tokens that differ in case or leading space alone; weigh n-grams by how rare they are in `examples`."""
        texts = [tokenizer.decode([i]) for i in range(len(tokenizer))]
        buckets = [zlib.crc32((text.strip().lower() or text).encode()) % self.BUCKETS for text in texts]
        self.fold[: len(buckets)] = torch.tensor(buckets, device=self.fold.device)
        squares = np.zeros(self.BUCKETS)
        for row in self.counts(examples):
            bucket, count = np.unique(row, return_counts=True)
            squares[bucket] += count**2
        # Not the variance: what stands in every answer varies as little as what stands in one. Never seen is as rare as seen once.
        self.weight.copy_(torch.tensor(1 / np.maximum(squares, 1)))

    def forward(self, examples: Sequence[Example]) -> Tensor:
        rows = self.counts(examples)
        flat = torch.tensor([bucket for row in rows for bucket in row], device=self.weight.device)
        offsets = torch.tensor(np.cumsum([0] + [len(row) for row in rows[:-1]]), device=self.weight.device)
        summed = nn.functional.embedding_bag(flat, self.directions, offsets, mode="sum", per_sample_weights=self.weight[flat])
        return nn.functional.normalize(summed, dim=-1)


def gumbel_of_normal(normal: Tensor) -> Tensor:
    """Standard normal values to standard Gumbel values of the same rank: -log(-log Phi(t))."""
    cdf = torch.special.ndtr(normal.double()).clamp(1e-12, 1 - 1e-12)
    return -torch.log(-torch.log(cdf)).to(normal.dtype)
