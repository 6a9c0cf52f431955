"""Raters as vocabulary: tokens that a tokenizer reads, rows of embeddings that say what the reader said of a rater, and output rows that
keep them unsaid.

A head without biases, as most models have, cannot rule a token out: its logit is a product with the last hidden state. So the head is
untied from the embeddings, and a rater's output row is the direction whose product with every hidden state of the model's own texts is as
nearly one negative number as least squares makes it, far below all other logits. What share of the probability that leaves to raters'
tokens is measured on texts that it was not fitted to; where it is not negligible, the rows are zero. `generation_config.json` lists the
tokens in `suppress_tokens` besides, which transformers' `generate` obeys whatever a logit is.

Notation: K raters, m soft tokens of each, d hidden size, V tokens of the vocabulary, N hidden states.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AddedToken, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.initialization import no_init_weights

from raterhf.data.example import Example, collate
from raterhf.errors import UserError
from raterhf.models.adapters import merged_weights
from raterhf.models.backbone import embeddings, finished_logits, window_of, with_prefix
from raterhf.models.draw import sample_keys
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch

TEXTS, LENGTH = 64, 48  # texts that output rows are fitted to and tried on, and their tokens
RIDGE = 1e-3  # of the mean square of a state's numbers
LOW = -1000.0  # the largest logit of a rater's token on texts, before soft caps
LARGEST = 5000.0  # how many times the vector of least squares an output row is, at most
CHUNK = 256  # states whose logits are held at once
NEGLIGIBLE = 1e-5  # the most that raters' tokens may have of the probability, all together


def rater_words(rater_id: str, count: int) -> list[str]:
    """The soft tokens of a rater, as text."""
    return [f"<|rater {rater_id} {i}|>" for i in range(count)]


def add_words(tokenizer: PreTrainedTokenizerBase, words: Mapping[str, Sequence[str]]) -> list[int]:
    """Make raters' words special tokens of a tokenizer; their ids, one rater after the other. Raises UserError for one that is there."""
    every = [word for said in words.values() for word in said]
    if known := sorted(set(every) & tokenizer.get_vocab().keys()):
        raise UserError(f"the model's tokenizer has the token {known[0]!r} already; export from the run that was trained first")
    tokenizer.add_tokens([AddedToken(word, special=True, normalized=False) for word in every], special_tokens=True)
    return word_ids(tokenizer, every)


def word_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[int]:
    """The ids of tokens by their text."""
    return cast(list[int], tokenizer.convert_tokens_to_ids(list(words)))  # a list for a list


def embedding_rows(model: PreTrainedModel, soft: Tensor) -> Tensor:
    """Rows [K * m, d] of the table of embeddings that are read as soft tokens [K, m, d]: some models scale what they look up."""
    table = embeddings(model)
    some = torch.arange(min(8, table.num_embeddings), device=table.weight.device)
    scale = table(some).float().norm() / table.weight[some].float().norm()
    return (soft.flatten(0, 1).float() / scale).to(table.weight.dtype)


def with_rows(table: Tensor, ids: Sequence[int], rows: Tensor, size: int) -> Tensor:
    """A table [V, ...] of `size` rows, those of `ids` replaced by `rows`; what is neither is zero."""
    grown = torch.cat([table, table.new_zeros(max(0, size - len(table)), *table.shape[1:])])
    return grown.index_copy(0, torch.as_tensor(ids, device=table.device), rows.to(table))


@dataclass(frozen=True)
class Unsaid:
    """How the output rows of tokens that nobody says were made: `row` [d], `bias` where the head has biases, and the largest `share` of the
    probability that all of them together have on texts (None: it is not negligible, and `suppress_tokens` alone keeps them out)."""

    row: Tensor
    bias: float
    share: float | None


@torch.no_grad()
def unsaid(policy: Policy, raters: RaterBatch, vocabulary: int, count: int, seed: int) -> Unsaid:
    """The output row of `count` tokens that are never said, for a policy under these raters."""
    states = _own_states(policy, raters, vocabulary, seed)
    fitted, tried = states[::2].flatten(0, 1), states[1::2].flatten(0, 1)
    row, bias = torch.zeros_like(states[0, 0]), 0.0
    if policy.lm.lm_head.bias is not None:
        bias = LOW
    else:
        row = _row(fitted.double()).to(row)
        row = row * (LOW / float((tried @ row).max().clamp(max=LOW / LARGEST)))
    logits = finished_logits(policy.lm, tried @ row + bias).float()
    rest = torch.cat([policy.next_logits(part).logsumexp(-1) for part in tried.split(CHUNK)])
    share = count * float((logits - rest).max().exp())
    return Unsaid(row, bias, share) if share < NEGLIGIBLE else Unsaid(torch.zeros_like(row), 0.0, None)


def _row(states: Tensor) -> Tensor:
    """The vector [d] whose product with states [N, d] is nearest to -1."""
    squares = states.T @ states / len(states)
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype, device=squares.device)
    return -torch.linalg.solve(squares + ridge, states.mean(0))


@torch.no_grad()
def _own_states(policy: Policy, raters: RaterBatch, vocabulary: int, seed: int) -> Tensor:
    """Hidden states [TEXTS, T, d] of texts of T tokens, LENGTH where the window has room, under raters in turn.

    By turns random tokens and what the model says after one of them.
    """
    device, room = policy.lm.device, window_of(policy.decoder) - (0 if policy.reader is None else policy.reader.tokens)
    length = int(min(LENGTH, room))
    random = torch.randint(vocabulary, (TEXTS, length), generator=torch.Generator().manual_seed(seed))
    begun = [Example((int(first),), 1) for first in random[:, 0]]
    who = raters.to(device)[torch.arange(TEXTS) % len(raters)]
    key = sample_keys(seed, [one.ids for one in begun], [str(i) for i in range(TEXTS)]).to(device)
    said = policy.generate(collate(begun, 0).to(device), who, length - 1, -1, 0, key).cpu()
    own = torch.cat([random[:, :1], said], 1)
    ids = torch.where((torch.arange(TEXTS) // 2 % 2 == 0)[:, None], random, own)
    batch = collate([Example(tuple(row), 1) for row in ids.tolist()], 0).to(device)
    return with_prefix(policy.decoder, batch, policy.prefix(who))


def language_model(policy: Policy, ids: Sequence[int], soft: Tensor | None, vocabulary: int, kept_out: Unsaid | None) -> PreTrainedModel:
    """The policy's language model as a plain one, adapters merged; with soft tokens [K, m, d] the raters' rows for `ids`, untied."""
    lm, state = policy.lm, merged_weights(policy.lm, policy.base)
    config = copy.deepcopy(lm.config)
    if soft is not None and kept_out is not None:
        read, said = (_name(lm, module) for module in (lm.get_input_embeddings(), lm.lm_head))
        size = max(len(state[f"{read}.weight"]), max(ids) + 1)
        state[f"{read}.weight"] = with_rows(state[f"{read}.weight"], ids, embedding_rows(lm, soft), size)
        none = range(vocabulary, size)
        state[f"{said}.weight"] = with_rows(state[f"{said}.weight"], none, kept_out.row.expand(len(none), -1), size)
        if f"{said}.bias" in state:
            lowest = state[f"{said}.bias"].new_full((len(none),), kept_out.bias)
            state[f"{said}.bias"] = with_rows(state[f"{said}.bias"], none, lowest, size)
        for part in (config, config.get_text_config()):
            part.tie_word_embeddings = False
        config.get_text_config().vocab_size = size
    return plain_model(AutoModelForCausalLM, config, state)


def _name(model: PreTrainedModel, wanted: object) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def plain_model(kind: type, config: object, state: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model of one of transformers' auto classes that has these weights, all of them and no others."""
    some = next(tensor for tensor in state.values() if tensor.is_floating_point())
    with no_init_weights():
        model: PreTrainedModel = kind.from_config(config, dtype=some.dtype)  # type: ignore[attr-defined]
    model.load_state_dict(state, assign=True)
    cast(nn.Module, model).to(some.device)
    return model.eval()
