"""What the policy is optimised on: raters drawn, candidates sampled from the reference, utilities of every candidate for every rater.

`Judge` holds the frozen reward model and reference; `imitation_targets` makes the batches of forward KL (each simulated rater's choice
among reference samples). Everything is a function of seed and step, so that an interrupted run resumes exactly.

Notation: k dimensions of taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.models.idiosyncratic import gumbel_of_normal
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool
from raterhf.training import losses


@dataclass(frozen=True)
class Judge:
    """The frozen parts: reward model, reference policy, and who judges (`pool` None: nobody in particular)."""

    scorer: Scorer
    reference: Policy
    pool: RaterPool | None
    idiosyncratic: bool
    seed: int

    def draw_raters(self, count: int, known_share: float, rng: np.random.Generator) -> RaterBatch:
        """Raters by taste alone, known and fictitious, the last one the null rater where there are several."""
        if self.pool is None:
            return RaterBatch.nobody(count)
        rows = []
        for _ in range(count):
            known = rng.random() < known_share
            rows.append(self.pool.vectors[rng.integers(len(self.pool.known))] if known else self.pool.populations[""].draw(rng))
        null = torch.zeros(count, dtype=torch.bool)
        null[-1] = count > 4
        return RaterBatch(torch.tensor(np.array(rows), dtype=torch.float32), null)

    @torch.no_grad()
    def scores(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        """Calibrated scores [N], each example for its own rater."""
        return self.scorer.pairs(examples, raters)

    @torch.no_grad()
    def reference_log_probs(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        return completion_log_probs(self.reference, examples, raters)[0]

    @torch.no_grad()
    def noise(self, examples: Sequence[Example], count: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise [count, N] of people choosing among examples: alike for one answer put in other words, with
        `idiosyncratic`."""
        if self.idiosyncratic:
            features = self.scorer.model.idiosyncratic(examples)
            return gumbel_of_normal(torch.randn(count, features.shape[1], generator=generator).to(features.device) @ features.T)
        return gumbel_of_normal(torch.randn(count, len(examples), generator=generator))


@dataclass(frozen=True)
class Imitation:
    """A batch to imitate: examples [N] under their raters, with weights [N], and what to log of it.

    With `rater` [N] the taste is not that of `raters` but these rows of the module's rater space, which learns.
    """

    examples: list[Example]
    raters: RaterBatch
    weight: Tensor
    log: dict[str, float]
    rater: Tensor | None = None

    def split(self, parts: int) -> list["Imitation"]:
        """Interleaved parts, so that each holds every prompt."""
        return [Imitation(self.examples[i::parts], self.raters[i::parts], self.weight[i::parts], self.log) for i in range(parts)]


def imitation_targets(
    judge: Judge, sampler: Sampler, prompts: list[tuple[int, ...]], n_prompts: int, n_raters: int, n_samples: int, n_draws: int,
    known_share: float, beta: float, step: int,
) -> Imitation:  # fmt: skip
    """One round of forward KL: what simulated raters, each with `n_draws` draws of noise, choose among samples of the reference."""
    rng = np.random.default_rng(np.random.SeedSequence([judge.seed, step, 0x666B6C]))
    chosen = [prompts[i] for i in rng.choice(len(prompts), size=min(n_prompts, len(prompts)), replace=False)]
    raters = judge.draw_raters(n_raters, known_share, rng)
    pools = _candidates(sampler, chosen, raters, n_samples, int(rng.integers(2**31)))
    flat = [example for pool in pools for example in pool]
    rater = torch.arange(n_raters).repeat(len(flat))
    repeated = [example for example in flat for _ in range(n_raters)]
    score = judge.scores(repeated, raters[rater]).view(len(flat), n_raters).T
    reference = judge.reference_log_probs(repeated, raters[rater]).view(len(flat), n_raters).T
    utility = losses.mean_utility(score, reference, beta)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    examples, picked, start = [], [], 0
    for pool in pools:
        columns = slice(start, start + len(pool))
        noise = judge.noise(pool, n_raters * n_draws, generator).to(utility.device)
        choice = (utility[:, columns].repeat(n_draws, 1) + noise).argmax(1)
        examples += [pool[i] for i in choice.tolist()]
        picked.append(score[:, columns].repeat(n_draws, 1).gather(1, choice[:, None]))
        start += len(pool)
    repeats = n_draws * len(pools)
    log = {"reward": float(torch.cat(picked).mean()), "candidates": len(flat) / len(pools)}
    return Imitation(examples, raters.repeat(repeats), torch.ones(len(examples)), log)


def _candidates(sampler: Sampler, prompts: list[tuple[int, ...]], raters: RaterBatch, n: int, seed: int) -> list[list[Example]]:
    """Different finished samples of the reference for each prompt, drawn under the raters in turn."""
    rater = torch.arange(n).repeat(len(prompts)) % len(raters)
    repeated = [prompt for prompt in prompts for _ in range(n)]
    samples = sampler.generate(repeated, raters[rater], seed)
    pools = []
    for i in range(len(prompts)):
        finished = [e for e in samples[i * n : (i + 1) * n] if e.ids[-1] == sampler.eos_id]
        # A prompt whose samples all ran past max_new_tokens keeps one of them: it is still a choice, and the log shows the length.
        pools.append(list(dict.fromkeys(finished)) or samples[i * n : i * n + 1])
    return pools
