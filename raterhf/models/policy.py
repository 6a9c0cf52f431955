"""The policy: a causal language model under a rater's soft prefix, and generation.

Notation: B sequences, T tokens, d hidden size, m prefix tokens. A rater's vector is taste and idiosyncratic taste side by side, [k + o]:
taste is what the prefix says, idiosyncratic taste is what sampling draws with (`idiosyncratic.py`), so that one fictitious rater is one
person.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data.example import Batch
from raterhf.models.backbone import HELD_TOKENS, embeddings, next_logits
from raterhf.models.base import Base
from raterhf.models.cache import continued
from raterhf.models.draw import Choose, drawn_afresh
from raterhf.models.idiosyncratic import IdiosyncraticSampling, IdiosyncraticTaste, make_idiosyncratic
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import PrefixReader


class Policy(nn.Module):
    """A language model, its reader, its raters' idiosyncratic taste. `dim` 0: no soft prefix (encodings `text` and `none`, the base model).

    `ends` are the tokens by which the model ends an answer, where they are several: all of them count as the first. `vocabulary` is how
    many tokens the tokenizer knows, where the model has rows for more: none of these is sampled. `base` is what the language model lies on,
    where its weights stay. `held_tokens`: how many tokens are read at once in training, and held for the backward pass.
    """

    def __init__(
        self, lm: PreTrainedModel, dim: int, tokens: int, idiosyncratic: IdiosyncraticTaste | None = None, ends: tuple[int, ...] = (),
        vocabulary: int | None = None, base: Base | None = None,
    ):  # fmt: skip
        super().__init__()
        self.lm, self.ends, self.vocabulary, self.base = lm, ends, vocabulary, base
        self.held_tokens = HELD_TOKENS
        std = embeddings(lm).weight.std().item()
        self.reader = PrefixReader(dim, tokens, lm.config.hidden_size, std) if dim else None
        self.idiosyncratic = idiosyncratic

    def prefix(self, raters: RaterBatch) -> Tensor | None:
        """Soft prefixes [B, m, d] of B raters; None for a model that knows none."""
        return None if self.reader is None else self.reader(raters)

    @property
    def decoder(self) -> PreTrainedModel:
        return self.lm.get_decoder()

    @property
    def null_prefix(self) -> Tensor | None:
        """Soft prefix [m, d] of nobody in particular."""
        return None if self.reader is None else self.reader.null

    def next_logits(self, states: Tensor) -> Tensor:
        """Logits [N, V] in fp32 of the token after last hidden states [N, d]."""
        return sayable_logits(next_logits(self.lm, states).float(), self.ends, self.vocabulary)

    @torch.no_grad()
    def generate(
        self, batch: Batch, raters: RaterBatch, max_new_tokens: int, eos_id: int, pad_id: int, key: Tensor,
        temperature: float = 1.0, min_p: float = 0.0, features: Tensor | None = None, row: Tensor | None = None,
        watch: Callable[[Tensor], None] | None = None,
    ) -> Tensor:  # fmt: skip
        """Sample completions of the left-padded prompts of `batch`: token ids [N, <= max_new_tokens], PAD after EOS.

        Sample n continues `row[n]` of the batch and its rater, which are read once however many samples continue them; without `row` each
        row has one. Its random numbers are those of `key[n]` (`draw.py`). `min_p` leaves out tokens less likely than this share of the
        likeliest (Nguyen et al. 2024). With `features` [B, F] of the prompts raters draw with their idiosyncratic taste [o] where it
        persists, which `vectors` [B, k + o] then hold; without them every sample is a fresh draw. `watch` is shown the tokens so far
        [N, t] after each of them, and may end it all by raising.
        """
        row = torch.arange(len(batch.ids), device=batch.ids.device) if row is None else row
        inputs = self.lm.get_input_embeddings()(batch.ids)
        mask = batch.mask
        prefix = self.prefix(raters)
        if prefix is not None:
            inputs = torch.cat([prefix.to(inputs.dtype), inputs], 1)
            mask = torch.cat([mask.new_ones(len(mask), prefix.shape[1]), mask], 1)
            # Padding goes to the left of the prefix: between it and the prompt it would count in sliding windows.
            order = mask.long().argsort(stable=True, dim=1)
            inputs, mask = inputs.gather(1, order[..., None].expand_as(inputs)), mask.gather(1, order)
        if temperature == 0:
            choose: Choose = lambda tokens, logits, rows: logits.argmax(-1)  # noqa: E731
        else:
            afresh = drawn_afresh(key) if features is None else self._drawn_by_raters(raters, features, row, key)
            choose = lambda tokens, logits, rows: afresh(tokens, sampling_distributions(logits, min_p, temperature), rows)  # noqa: E731
        return decode(self, inputs, mask, row, max_new_tokens, eos_id, pad_id, choose, watch)

    def _drawn_by_raters(self, raters: RaterBatch, features: Tensor, row: Tensor, key: Tensor) -> Choose:
        """Tokens drawn by raters [B] with their idiosyncratic taste, of prompts with these features [B, F]."""
        taste, reader = self.idiosyncratic, self.reader
        assert taste is not None and reader is not None  # features are given only to a policy that has both
        share = torch.where(raters.null, 0.0, taste.share(features))
        own = taste.turned(raters.idiosyncratic(reader.dim, taste.dim), features)
        return IdiosyncraticSampling(taste, own[row], share[row], key)


def make_policy(
    lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dim: int = 0, tokens: int = 0, idiosyncratic_dim: int = 0,
    base: Base | None = None,
) -> Policy:  # fmt: skip
    """A policy that ends an answer by any token that ends one, and says nothing that its tokenizer does not know."""
    idiosyncratic = make_idiosyncratic(idiosyncratic_dim, lm, tokenizer)
    return Policy(lm, dim, tokens, idiosyncratic, ends_of(lm, tokenizer), len(tokenizer), base)


def ends_of(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens by which a model ends an answer: the tokenizer's EOS, and those that its generation config names (of a turn)."""
    named = lm.generation_config.eos_token_id if lm.generation_config is not None else None
    named = [named] if isinstance(named, int) else list(named or [])
    ends = dict.fromkeys([tokenizer.eos_token_id, *named])
    return tuple(end for end in ends if end is not None and 0 <= end < embeddings(lm).num_embeddings)


def sayable_logits(logits: Tensor, ends: Sequence[int], vocabulary: int | None) -> Tensor:
    """Logits [N, V] of what is said: all `ends` count as the first, and no token from `vocabulary` on."""
    if len(ends) > 1:
        every = torch.tensor(ends, device=logits.device)
        whole = logits[..., every].logsumexp(-1, keepdim=True)
        logits = logits.index_fill(-1, every, -torch.inf)
        logits = torch.where(torch.arange(logits.shape[-1], device=logits.device) == every[0], whole, logits)
    if vocabulary is not None and vocabulary < logits.shape[-1]:
        logits = logits.masked_fill(torch.arange(logits.shape[-1], device=logits.device) >= vocabulary, -torch.inf)
    return logits


def sampling_distributions(logits: Tensor, min_p: float = 0.0, temperature: float = 1.0) -> Tensor:
    """Log-distributions [N, V] in fp32 that sampling draws the next token from: -inf below `min_p` of the likeliest, then tempered."""
    distributions = torch.log_softmax(logits.float(), -1)
    if min_p > 0:
        distributions = distributions.masked_fill(distributions < distributions.amax(-1, keepdim=True) + math.log(min_p), -torch.inf)
    return distributions if min_p == 0 and temperature == 1 else torch.log_softmax(distributions / temperature, -1)


def decode(
    policy: Policy, inputs: Tensor, mask: Tensor, row: Tensor, max_new_tokens: int, eos_id: int, pad_id: int, choose: Choose,
    watch: Callable[[Tensor], None] | None = None,
) -> Tensor:  # fmt: skip
    """Token ids [N, <= max_new_tokens] after left-padded input embeddings [B, T, d], sample n after row[n]; PAD after EOS.

    transformers' `generate` would read a prompt once for each of its samples; the tokens are the same, one by one. `choose` gets logits.
    Samples that ended are no longer read once they are half of those read: one long answer would else make all as long. `watch`: as in
    `Policy.generate`.
    """
    decoder = policy.decoder
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    out = decoder(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, use_cache=True)
    cache, states = continued(out.past_key_values, row), out.last_hidden_state[row, -1]
    mask, position = mask[row].long(), positions[row, -1:]
    tokens, going = row.new_zeros(len(row), 0), torch.ones_like(row, dtype=torch.bool)
    read = torch.arange(len(row), device=row.device)  # samples that the model still reads
    while True:
        token = torch.full_like(row, pad_id).index_copy(0, read, choose(tokens[read], policy.next_logits(states), read))
        token = torch.where(going, token, pad_id)
        tokens, going = torch.cat([tokens, token[:, None]], 1), going & (token != eos_id)
        if watch is not None:
            watch(tokens)
        if tokens.shape[1] == max_new_tokens or not going.any():
            return tokens
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        if 2 * going[read].sum() <= len(read):
            left = going[read].nonzero().squeeze(1)
            read, mask, position = read[left], mask[left], position[left]
            cache.batch_select_indices(left)
        states = decoder(
            input_ids=token[read, None], attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]  # fmt: skip
