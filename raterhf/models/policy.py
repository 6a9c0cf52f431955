"""The policy: a causal language model under a rater's soft prefix; log-probabilities and generation.

Notation: B sequences, T tokens, d hidden size, m prefix tokens. A rater's vector here is taste and own noise side by side, [k + o].
Beside the prefix, which every layer reads, the rater leans on the last hidden states (`Lean`): a prefix alone is listened to only after
hundreds of steps, and own noise, a linear functional of the text, is learned through it hardly at all.
Generation is left to transformers' `generate`; the log-probabilities of what it sampled are recomputed by `log_probs`, so that
sampling and training agree.
"""

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from raterhf.data.batches import Batch
from raterhf.models.reward import with_prefix
from raterhf.raters.space import PrefixReader


class Lean(nn.Module):
    """What a rater adds to hidden states: h + O (R v * C h), bilinear in rater and context, nothing at first and for the null rater."""

    def __init__(self, dim: int, hidden_size: int):
        super().__init__()
        rank = 2 * hidden_size
        self.rater = nn.Linear(dim, rank, bias=False)
        self.context = nn.Linear(hidden_size, rank)
        self.out = nn.Linear(rank, hidden_size, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, states: Tensor, vectors: Tensor, null: Tensor) -> Tensor:
        """Hidden states [B, T, d] under raters `vectors` [B, k + o], `null` [B] -> [B, T, d]."""
        heard = self.rater(vectors) * ~null[:, None]
        return states + self.out(heard[:, None] * self.context(states))


class Policy(nn.Module):
    """A language model and its reader. `dim` 0 is a policy without soft prefix (encodings `text` and `none`, and the base model)."""

    def __init__(self, lm: PreTrainedModel, dim: int, tokens: int):
        super().__init__()
        self.lm = lm
        std = lm.get_input_embeddings().weight.std().item()
        self.reader = PrefixReader(dim, tokens, lm.config.hidden_size, std) if dim else None
        self.lean = Lean(dim, lm.config.hidden_size) if dim else None

    def prefix(self, vectors: Tensor | None, null: Tensor | None) -> Tensor | None:
        return None if self.reader is None else self.reader(vectors, null)

    def log_probs(self, batch: Batch, vectors: Tensor | None = None, null: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability [B] of each completion, EOS included, and the summed entropy [B] of its next-token laws, in nats."""
        states = with_prefix(self.lm.get_decoder(), batch, self.prefix(vectors, null))
        if self.lean is not None:
            states = self.lean(states, vectors, null)
        target = batch.answer[:, 1:]
        logits = self.lm.lm_head(states[:, :-1][target]).float()
        laws = torch.log_softmax(logits, -1)
        token = laws.gather(1, batch.ids[:, 1:][target][:, None]).squeeze(1)
        entropy = -(laws.exp() * laws).sum(1)
        row = target.nonzero()[:, 0]
        zeros = token.new_zeros(len(batch.ids))
        return zeros.index_add(0, row, token), zeros.index_add(0, row, entropy)

    @torch.no_grad()
    def generate(self, batch: Batch, vectors: Tensor | None, null: Tensor | None, max_new_tokens: int, temperature: float = 1.0) -> Tensor:
        """Sample a completion for each left-padded prompt of `batch`: token ids [B, <= max_new_tokens], PAD after EOS."""
        inputs = self.lm.get_input_embeddings()(batch.ids)
        mask = batch.mask
        prefix = self.prefix(vectors, null)
        if prefix is not None:
            # Between prefix and prompt there may be padding: positions count real tokens, as in training.
            inputs = torch.cat([prefix.to(inputs.dtype), inputs], 1)
            mask = torch.cat([mask.new_ones(len(mask), prefix.shape[1]), mask], 1)
        config = self.lm.config
        settings = GenerationConfig(
            do_sample=temperature > 0, temperature=temperature or None, top_p=1.0, top_k=0, max_new_tokens=max_new_tokens,
            pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id,
        )  # fmt: skip
        hook = None
        if self.lean is not None:
            hook = self.lm.lm_head.register_forward_pre_hook(lambda _, args: (self.lean(args[0], vectors, null),))
        try:
            return self.lm.generate(inputs_embeds=inputs, attention_mask=mask.long(), generation_config=settings)
        finally:
            if hook is not None:
                hook.remove()
