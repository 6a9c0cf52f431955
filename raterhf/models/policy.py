"""The policy: a causal language model under a rater's soft prefix; log-probabilities and generation.

Notation: B sequences, T tokens, d hidden size, m prefix tokens. A rater's vector is taste and own noise side by side, [k + o]: taste is
what the prefix says, own noise is what sampling draws with (`own_noise.py`), so that one fictitious rater is one person.
Generation is left to transformers' `generate`; the log-probabilities of what it sampled are recomputed by `log_probs`, so that
sampling and training agree.
"""

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessorList, MinPLogitsWarper, PreTrainedModel

from raterhf.data.batches import Batch
from raterhf.models.backbone import prompt_features, with_prefix
from raterhf.models.own_noise import OwnNoise, OwnNoiseSampling
from raterhf.raters.space import PrefixReader


class Policy(nn.Module):
    """A language model, its reader, its raters' own noise. `dim` 0: no soft prefix (encodings `text` and `none`, the base model)."""

    def __init__(self, lm: PreTrainedModel, dim: int, tokens: int, own_noise: OwnNoise | None = None):
        super().__init__()
        self.lm = lm
        std = lm.get_input_embeddings().weight.std().item()
        self.reader = PrefixReader(dim, tokens, lm.config.hidden_size, std) if dim else None
        self.own_noise = own_noise

    def prefix(self, vectors: Tensor | None, null: Tensor | None) -> Tensor | None:
        """Soft prefixes [B, m, d] of raters [B, k] or [B, k + o]."""
        return None if self.reader is None else self.reader(vectors[:, : self.reader.dim], null)

    def prompt_features(self, batch: Batch) -> Tensor:
        """Features [B, d] of the prompts for nobody in particular."""
        return prompt_features(self.lm.get_decoder(), batch, None if self.reader is None else self.reader.null)

    def log_probs(self, batch: Batch, vectors: Tensor | None = None, null: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability [B] of each completion, EOS included, and the summed entropy [B] of its next-token laws, in nats."""
        states = with_prefix(self.lm.get_decoder(), batch, self.prefix(vectors, null))
        target = batch.answer[:, 1:]
        logits = self.lm.lm_head(states[:, :-1][target]).float()
        laws = torch.log_softmax(logits, -1)
        token = laws.gather(1, batch.ids[:, 1:][target][:, None]).squeeze(1)
        entropy = -(laws.exp() * laws).sum(1)
        row = target.nonzero()[:, 0]
        zeros = token.new_zeros(len(batch.ids))
        return zeros.index_add(0, row, token), zeros.index_add(0, row, entropy)

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        vectors: Tensor | None,
        null: Tensor | None,
        max_new_tokens: int,
        temperature: float = 1.0,
        min_p: float = 0.0,
        own: bool = False,
    ) -> Tensor:
        """Sample a completion for each left-padded prompt of `batch`: token ids [B, <= max_new_tokens], PAD after EOS.

        `min_p` leaves out tokens less likely than this share of the likeliest (Nguyen et al. 2024). With `own` the raters draw with their
        own noise [B, o], which `vectors` then holds; without it every sample is a fresh draw.
        """
        inputs = self.lm.get_input_embeddings()(batch.ids)
        mask = batch.mask
        prefix = self.prefix(vectors, null)
        if prefix is not None:
            # Between prefix and prompt there may be padding: positions count real tokens, as in training.
            inputs = torch.cat([prefix.to(inputs.dtype), inputs], 1)
            mask = torch.cat([mask.new_ones(len(mask), prefix.shape[1]), mask], 1)
        drawing = {"do_sample": temperature > 0, "temperature": temperature or None, "top_p": 1.0, "top_k": 0}
        processors = LogitsProcessorList([MinPLogitsWarper(min_p)] if min_p > 0 else [])
        if own and self.own_noise is not None and temperature > 0:
            share = torch.where(null, 0.0, self.own_noise.share(self.prompt_features(batch)))
            processors.append(OwnNoiseSampling(self.own_noise, vectors[:, self.reader.dim :], share, temperature))
            drawing = {"do_sample": False}  # the noise is in the scores already
        config = self.lm.config
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id, **drawing
        )
        return self.lm.generate(inputs_embeds=inputs, attention_mask=mask.long(), generation_config=settings, logits_processor=processors)
