"""Raters and prompts in, completions out. The one place that generates, for rollouts, `sample` and the figures alike.

A completion is a function of the seed, its rater, its prompt and which of that rater's completions of it it is, whatever else is asked for.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from raterhf.data.example import Example, collate
from raterhf.engine.checks import check_rater_of_each, soft_tokens
from raterhf.engine.passes import prompt_features
from raterhf.errors import UserError
from raterhf.models.backbone import window_of
from raterhf.models.draw import sample_keys
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch

BATCH_TOKENS = 16384

# The numbers of completions [N] that are being sampled, and their tokens so far [N, t], PAD after EOS.
Watch = Callable[[list[int], torch.Tensor], None]


class Sampler:
    """Generates with one policy. Everything drawn is a function of the seed given to `generate`.

    Completions in other company differ only where two tokens lead within rounding. With `deterministic` each is
    generated alone, and is the same whatever else is asked.
    """

    def __init__(
        self, policy: Policy, pad_id: int, eos_id: int, max_new_tokens: int, min_p: float = 0.0, deterministic: bool = False
    ):  # fmt: skip
        self.policy, self.pad_id, self.eos_id = policy, pad_id, eos_id
        self.max_new_tokens, self.min_p, self.deterministic = max_new_tokens, min_p, deterministic

    def leaving_out(self, min_p: float) -> "Sampler":
        """The same, never drawing tokens less likely than this share of the likeliest."""
        return Sampler(self.policy, self.pad_id, self.eos_id, self.max_new_tokens, min_p, self.deterministic)

    def check_room(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Raise UserError where a prompt (token ids), its rater and a completion are more than the model's window."""
        window, longest, soft = window_of(self.policy.decoder), max(map(len, prompts)), soft_tokens(self.policy)
        if longest + soft + self.max_new_tokens > window:
            beside = f", its rater's {soft}" if soft else ""
            raise UserError(
                f"a prompt's {longest} tokens{beside} and {self.max_new_tokens} new ones (max_new_tokens) are more than the model's window "
                f"of {window}; shorten the prompt or lower max_new_tokens"
            )

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[tuple[int, ...]],
        raters: RaterBatch,
        seed: int,
        temperature: float = 1.0,
        idiosyncratic: bool = False,
        names: Sequence[str] | None = None,
        watch: Watch | None = None,
    ) -> list[Example]:
        """One completion for each prompt (token ids) under its rater, `raters[i]` for prompt i. In input order.

        `names` are the raters' IDs, by which random numbers are drawn; without them a rater is known by the vector. A rater and prompt that
        come again are that rater's next sample.

        With `idiosyncratic` raters draw with that taste too, so that one asked again says what persists in a person again; rollouts go
        without. A completion cut at `max_new_tokens` has no EOS at its end. Same seed, same machine: the same completions.

        `watch` is called after every token; what it raises ends the sampling.
        """
        if not prompts:
            return []
        device, soft = self.policy.lm.device, self.policy.reader is not None
        raters = raters.to(device)
        listens = idiosyncratic and self.policy.idiosyncratic is not None
        self.check_room(prompts)
        if soft:
            check_rater_of_each(self.policy, len(prompts), raters, idiosyncratic=listens)
        order = np.argsort([len(p) for p in prompts], kind="stable")
        rater = raters.distinct()[0].tolist() if soft else [0] * len(prompts)
        who: Sequence[str | bytes] = names if names is not None else raters.identities() if soft else [b""] * len(prompts)
        key = sample_keys(seed, prompts, who).to(device)
        size = 1 if self.deterministic else max(1, BATCH_TOKENS // (max(len(p) for p in prompts) + self.max_new_tokens))
        out: dict[int, Example] = {}
        training = self.policy.training
        self.policy.eval()  # nothing is dropped, and keys and values are kept
        try:
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                # Samples of one rater and prompt continue one row.
                place: dict[tuple, int] = {}
                row = [place.setdefault((prompts[i], rater[i]), len(place)) for i in rows]
                heads = [Example(prompt, len(prompt)) for prompt, _ in place]
                first = torch.as_tensor(rows[np.unique(row, return_index=True)[1]], device=device)
                features = prompt_features(self.policy, [prompt for prompt, _ in place], BATCH_TOKENS) if listens else None
                tokens = self.policy.generate(
                    collate(heads, self.pad_id, "left").to(device), raters[first], self.max_new_tokens, self.eos_id, self.pad_id,
                    key[torch.as_tensor(rows, device=device)], temperature, self.min_p, features, torch.tensor(row, device=device),
                    None if watch is None else partial(watch, rows.tolist()),
                ).tolist()  # fmt: skip
                for i, row in zip(rows, tokens):
                    out[i] = Example(prompts[i] + self._until_eos(row), len(prompts[i]))
        finally:
            self.policy.train(training)
        return [out[i] for i in range(len(prompts))]

    def _until_eos(self, tokens: list[int]) -> tuple[int, ...]:
        end = tokens.index(self.eos_id) + 1 if self.eos_id in tokens else len(tokens)
        return tuple(tokens[:end])


def completion_text(tokenizer, example: Example) -> str:
    """The completion of an example as text, without special tokens."""
    return tokenizer.decode(example.ids[example.prompt_length :], skip_special_tokens=True)
