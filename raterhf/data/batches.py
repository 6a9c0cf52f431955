"""The one place that renders examples into token ids, and the batches made of them.

A rendered example is `tokenizer(rater text + prompt) + tokenizer(completion) + [eos]`, for training and scoring alike. A plain prompt
ends in a newline (one is added where it has no white space at its end), so that prompt and completion never share a token, and begins
with the tokenizer's BOS where it puts one before texts; a conversation goes through the tokenizer's chat template, which says how it
begins. Nothing is truncated: an example longer than the window is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from raterhf.errors import UserError


@dataclass(frozen=True)
class Example:
    """Token ids of prompt and completion (EOS included); `ids[prompt_length:]` is the completion."""

    ids: tuple[int, ...]
    prompt_length: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt(self) -> "Example":
        return Example(self.ids[: self.prompt_length], self.prompt_length)


class Renderer:
    """Prompt, completion and rater text -> token ids. Remembers what it has rendered."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int):
        if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            raise UserError(
                f"tokenizer of {tokenizer.name_or_path or 'the model'} has no EOS or no pad token; both are needed: "
                "set them with tokenizer.add_special_tokens and save the folder again"
            )
        self.tokenizer, self.max_length = tokenizer, max_length
        begun = list(tokenizer("a")["input_ids"])[:1]
        self._begin = tuple(begun) if begun and begun[0] == tokenizer.bos_token_id else ()
        self._cache: dict[str, tuple[int, ...]] = {}

    def _tokens(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            self._cache[text] = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._cache[text]

    def prompt_text(self, prompt: str | list[dict]) -> str:
        if isinstance(prompt, str):
            return prompt if prompt[-1:].isspace() else prompt + "\n"
        if self.tokenizer.chat_template is None:
            raise UserError("the data hold conversations, but the tokenizer has no chat template; use text prompts or another model")
        return self.tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)

    def prompt(self, prompt: str | list[dict], rater_text: str = "") -> tuple[int, ...]:
        """Token ids of a prompt to generate from. Raises UserError where it leaves no room in the window."""
        ids = self._head(prompt, rater_text)
        if len(ids) >= self.max_length:
            raise UserError(
                f"prompt {str(prompt)[:60]!r} has {len(ids)} tokens, the window (model.max_length) {self.max_length}; "
                "shorten the prompt or raise model.max_length"
            )
        return ids

    def length(self, prompt: str | list[dict], completion: str, rater_text: str = "") -> int:
        return len(self._head(prompt, rater_text)) + len(self._tokens(completion)) + 1

    def _head(self, prompt: str | list[dict], rater_text: str) -> tuple[int, ...]:
        return (self._begin if isinstance(prompt, str) else ()) + self._tokens(rater_text + self.prompt_text(prompt))

    def example(self, prompt: str | list[dict], completion: str, rater_text: str = "") -> Example:
        """Token ids of prompt + completion + EOS. Raises UserError where they do not fit the window."""
        head = self.prompt(prompt, rater_text)
        ids = head + self._tokens(completion) + (self.tokenizer.eos_token_id,)
        if len(ids) > self.max_length:
            raise UserError(
                f"example {(str(prompt) + ' ' + completion)[:80]!r} has {len(ids)} tokens, the window (model.max_length) "
                f"{self.max_length}; shorten it, or train with a larger model.max_length"
            )
        return Example(ids, len(head))


@dataclass(frozen=True)
class Batch:
    """Padded token ids [B, T], `mask` True at real tokens, `answer` True at completion tokens (EOS included)."""

    ids: Tensor
    mask: Tensor
    answer: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.ids.to(device), self.mask.to(device), self.answer.to(device))


def collate(examples: Sequence[Example], pad_id: int, side: str = "right") -> Batch:
    width = max(len(e) for e in examples)
    ids = torch.full((len(examples), width), pad_id)
    mask = torch.zeros(len(examples), width, dtype=torch.bool)
    answer = torch.zeros_like(mask)
    for row, example in enumerate(examples):
        start = 0 if side == "right" else width - len(example)
        ids[row, start : start + len(example)] = torch.tensor(example.ids)
        mask[row, start : start + len(example)] = True
        answer[row, start + example.prompt_length : start + len(example)] = True
    return Batch(ids, mask, answer)


def budget_batches(lengths: Sequence[int], token_budget: int) -> list[np.ndarray]:
    """Indices in batches of near-equal lengths, padded size at most `token_budget` tokens (one longer example goes alone)."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for i in range(len(order)):
        if (i - start + 1) * lengths[order[i]] > token_budget and i > start:
            batches.append(order[start:i])
            start = i
    if len(order):
        batches.append(order[start:])
    return batches


def step_indices(groups: np.ndarray, batch_size: int, block: int, step: int, seed: int) -> np.ndarray:
    """The examples of one step: a pure function of the step, so that a run resumes anywhere.

    An epoch is a seeded permutation of blocks, each of up to `block` examples of one group (of `groups` [N], a number each): examples
    that share a prompt come together and share its work. With block 1 it is a plain permutation.
    """
    order = _epoch(groups.tobytes(), len(groups), block, 0, seed)
    per_epoch = max(1, len(order) // batch_size)
    order = _epoch(groups.tobytes(), len(groups), block, step // per_epoch, seed)
    start = (step % per_epoch) * batch_size
    return order[start : start + batch_size]


@lru_cache(maxsize=4)
def _epoch(groups: bytes, n: int, block: int, epoch: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    order = rng.permutation(n)
    if block == 1:
        return order
    group = np.frombuffer(groups, dtype=np.int64)[order]
    order = order[np.argsort(group, kind="stable")]
    cuts = np.flatnonzero(np.diff(np.sort(group))) + 1
    blocks = [part[i : i + block] for part in np.split(order, cuts) for i in range(0, len(part), block)]
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
