"""DPO with IDs: raise the log-odds of what a rater chose over what that rater rejected, from those of the reference, each read under the
rater's vector (Rafailov et al. 2023, eq. 7; P-DPO of Li et al. 2024, arXiv 2402.05133, whose users are embeddings before the prompt).

    -log sigmoid(beta ((log pi - log ref)(chosen | z) - (log pi - log ref)(rejected | z)))

It reads the comparisons that the reward model is trained on, but for ties, and asks no reward model. As in P-DPO a share of the pairs is
read as nobody's, which teaches whom nothing is known of. Vectors are those of the reward stage under noise, as imitation reads them, since
without noise a fictitious rater would be none of those met. The options are `nobody` and `noise`. A step takes `batch_size` / 2 pairs, two
completions each.
"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.scorer import completion_log_probs
from raterhf.errors import UserError
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_base import Section
from raterhf.training import losses, ranks
from raterhf.training.algorithms.base import Log, Start


class Settings(Section):
    nobody: float = Field(0.5, ge=0, le=1)
    """Share of the pairs that are read as nobody's in particular (1 - alpha of P-DPO)."""
    noise: float = Field(1.0, ge=0)
    """Gaussian noise on rater vectors, in units of their spread, as sft.noise."""


@dataclass(frozen=True)
class Pairs:
    """A batch of so many pairs: this process's own P of `whole`, first what was chosen [P] and then what was rejected [P], with the raters
    [P] who chose."""

    examples: list[Example]
    raters: RaterBatch
    whole: int


def make(start: Start, options: Settings) -> "DPO":
    return DPO(start, options)


class DPO:
    """Batches of comparisons, each epoch in an order of its own. Raises UserError where nothing was decided."""

    def __init__(self, start: Start, options: Settings):
        self.start, self.options = start, options
        self.state: dict[str, float] = {}
        self.compared = start.compared.rows(np.flatnonzero(start.compared.label != 0))
        if not len(self.compared):
            raise UserError("policy.algorithm dpo learns from comparisons that are no ties, and the data hold none; use another algorithm")
        pool = start.objective.pool
        self.vectors = torch.tensor(pool.vectors) if pool is not None and pool.encoding == "embedding" else None
        if pool is not None and pool.encoding == "text":
            raise UserError("policy.algorithm dpo reads raters by their vectors; set raters.encoding to embedding or none")

    def batch(self, step: int) -> Pairs:
        start, data = self.start, self.compared
        size = max(1, start.settings.batch_size // 2)
        seeds = np.random.SeedSequence([start.seed, step, 0x64706F])
        rows = np.random.default_rng(seeds).integers(len(data), size=size)
        chosen = np.where(data.label[rows] > 0, data.a[rows], data.b[rows])
        rejected = np.where(data.label[rows] > 0, data.b[rows], data.a[rows])
        raters, own = self.read(data.rater[rows], int(seeds.generate_state(1)[0])), ranks.part(size)
        examples = [data.examples[i] for i in [*chosen[own], *rejected[own]]]
        return Pairs(examples, raters[own], size)

    def read(self, rater: np.ndarray, seed: int) -> RaterBatch:
        """The raters [P] under noise, a share of them as nobody."""
        if self.vectors is None:
            return RaterBatch.nobody(len(rater))
        generator = torch.Generator().manual_seed(seed)
        taste = self.vectors[rater]
        taste = taste + self.options.noise * self.vectors.std(0).mean() * torch.randn(taste.shape, generator=generator)
        return RaterBatch(taste, torch.rand(len(rater), generator=generator) < self.options.nobody)

    def loss(self, batch: Pairs, step: int) -> tuple[Tensor, Log]:
        start, pairs = self.start, len(batch.raters)
        log = {"tokens": float(ranks.count() * sum(map(len, batch.examples)))}
        if not pairs:
            nothing = losses.of_nothing(start.policy)
            return nothing, {"loss": nothing, "reward_margin": nothing, "entropy": nothing} | log
        raters = batch.raters.repeat(2).to(start.policy.lm.device)
        log_prob, entropy = completion_log_probs(start.policy, batch.examples, raters)
        gain = (log_prob - start.objective.reference_log_probs(batch.examples, raters)).view(2, pairs)
        share, beta = ranks.share(pairs, batch.whole), start.settings.beta
        loss = losses.preference_loss(gain[0], gain[1], beta).mean() * share
        margin = beta * (gain[0] - gain[1]).detach().mean() * share
        return loss, {"loss": loss, "reward_margin": margin, "entropy": entropy.mean() * share} | log
