"""The policies that are compared, behind one question: what do these raters answer to these prompts?

A contestant is a policy folder (ours, or a plain language model such as TRL writes) and a way to draw its raters: fictitious, known, or
nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raterhf.data.batches import Example, Renderer
from raterhf.inference.sampler import Sampler, completion_text
from raterhf.inference.scorer import completion_log_probs
from raterhf.models import backbone, checkpoint
from raterhf.models.policy import Policy
from raterhf.raters.pool import Rater, RaterPool, stack_vectors
from raterhf.recipe import Recipe


@dataclass
class Contestant:
    """`draws` is how raters are drawn for it: "new", "known" or "none"."""

    name: str
    policy: Policy
    renderer: Renderer
    pool: RaterPool | None
    draws: str
    max_new_tokens: int
    min_p: float = 0.0
    temperature: float = 1.0

    def raters(self, n: int, seed: int) -> list[Rater]:
        """n raters: fresh fictitious ones, known ones in a random order (repeated where there are fewer), or nobody n times."""
        if self.draws == "new":
            return self.pool.resolve("new", n, seed)
        if self.draws == "known":
            order = np.random.default_rng(seed).permutation(len(self.pool.ids))
            return [self.pool.known(self.pool.ids[order[i % len(order)]]) for i in range(n)]
        return [Rater("none", None)] * n

    def answer(self, prompts: Sequence[str], raters: Sequence[Rater], seed: int) -> list[Example]:
        """One completion for each prompt under its rater."""
        ids = [self.renderer.prompt(p, r.text) for p, r in zip(prompts, raters)]
        vectors, null = self._soft(raters)
        tokenizer = self.renderer.tokenizer
        sampler = Sampler(self.policy, tokenizer.pad_token_id, tokenizer.eos_token_id, self.max_new_tokens, self.min_p)
        return sampler.generate(ids, vectors, null, seed, self.temperature, own=True)

    def texts(self, examples: Sequence[Example]) -> list[str]:
        return [completion_text(self.renderer.tokenizer, e) for e in examples]

    @torch.no_grad()
    def log_probs(self, examples: Sequence[Example], raters: Sequence[Rater]) -> np.ndarray:
        """Log-probability [N] of each completion under its rater, in nats."""
        vectors, null = self._soft(raters)
        return completion_log_probs(self.policy, examples, vectors, null)[0].cpu().numpy()

    def _soft(self, raters: Sequence[Rater]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if self.policy.reader is None:
            return None, None
        vectors, null = stack_vectors(list(raters), self.pool.dim + self.pool.own_dim)
        device = self.policy.lm.device
        return torch.tensor(vectors, device=device), torch.tensor(null, device=device)


def load_contestant(
    name: str, folder: Path, draws: str, recipe: Recipe, temperature: float = 1.0, max_new_tokens: int | None = None
) -> Contestant:
    """A contestant from a folder of ours or a plain language model's; all of them sample as the recipe's policy does.

    A recipe without the stage `policy` needs `max_new_tokens`.
    """
    pool = None
    if (folder / "raterhf.json").is_file():
        policy, tokenizer, _ = checkpoint.load_policy(folder)
        if (folder / "raters.json").is_file():
            pool = checkpoint.load_pool(folder)
    else:
        lm, tokenizer = backbone.load_pretrained(folder)
        policy = Policy(lm, 0, 0).eval()
    renderer = Renderer(tokenizer, recipe.model.max_length)
    length, min_p = max_new_tokens or recipe.policy.max_new_tokens, recipe.policy.min_p if recipe.policy else 0.0
    return Contestant(name, policy, renderer, pool, draws, length, min_p, temperature)
