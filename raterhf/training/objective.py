"""What a policy is optimised for: the frozen reward model and reference, and the raters drawn to score for.

Everything is a function of seed and step, so that an interrupted run resumes exactly. Notation: k dimensions of taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.models.draw import ONCE, normals
from raterhf.models.idiosyncratic import gumbel_of_normal
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool


@dataclass(frozen=True)
class Objective:
    """The frozen parts: reward model, reference policy, and whom is scored for (`pool` None: nobody in particular)."""

    scorer: Scorer
    reference: Policy
    pool: RaterPool | None
    seed: int

    def draw_raters(self, count: int, known_share: float, rng: np.random.Generator) -> tuple[RaterBatch, list[str]]:
        """Raters by taste alone and their texts, known and fictitious, the last one the null rater where there are more than four.

        Raters by text are all somebody: no stage before has dropped a text.
        """
        if self.pool is None:
            return RaterBatch.nobody(count, self.scorer.device), [""] * count
        if self.pool.encoding == "text":
            return RaterBatch.nobody(count, self.scorer.device), [self._text(known_share, rng) for _ in range(count)]
        rows = []
        for _ in range(count):
            known = rng.random() < known_share
            rows.append(self.pool.vectors[rng.integers(len(self.pool.known))] if known else self.pool.population.draw(rng))
        null = torch.zeros(count, dtype=torch.bool)
        null[-1] = count > 4
        return RaterBatch(torch.tensor(np.array(rows), dtype=torch.float32), null).to(self.scorer.device), [""] * count

    def _text(self, known_share: float, rng: np.random.Generator) -> str:
        known = rng.random() < known_share
        number = int(rng.integers(len(self.pool.known) if known else 2**31))
        return (self.pool.by_id(self.pool.known[number]) if known else self.pool.fictitious(number)).text

    @torch.no_grad()
    def scores(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        """Calibrated scores [N], each example for its own rater."""
        return self.scorer.pairs(examples, raters)

    @torch.no_grad()
    def reference_log_probs(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        return completion_log_probs(self.reference, examples, raters)[0]

    @torch.no_grad()
    def noise(self, examples: Sequence[Example], key: Tensor, idiosyncratic: bool) -> Tensor:
        """Standard Gumbel noise [K, N] of people choosing among examples, by the key [K] of each choice (`draw.py`).

        With `idiosyncratic` it is alike for one answer put in other words; else each text has noise of its own.
        """
        key = key.to(self.scorer.device)
        if idiosyncratic:
            features = self.scorer.model.idiosyncratic(examples)
            return gumbel_of_normal(normals(key, ONCE, features.shape[1]) @ features.T)
        return gumbel_of_normal(normals(key, ONCE, len(examples)))
