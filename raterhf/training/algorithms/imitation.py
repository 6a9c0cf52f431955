"""Imitation: raise the log-probability of given completions under their raters. The stages base and sft train by it alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.scorer import completion_log_probs
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.training import losses
from raterhf.training.algorithms.base import Log, Start


@dataclass(frozen=True)
class Demonstrations:
    """A batch to imitate: examples [N] under their raters, with weights [N], and what to log of it.

    With `rater` [N] the taste is not that of `raters` but these rows of the rater space, which learns.
    """

    examples: list[Example]
    raters: RaterBatch
    weight: Tensor
    log: dict[str, float]
    rater: Tensor | None = None

    @classmethod
    def of_nobody(cls, examples: list[Example]) -> "Demonstrations":
        return cls(examples, RaterBatch.nobody(len(examples)), torch.ones(len(examples)), {})

    def split(self, parts: int) -> list["Demonstrations"]:
        """Interleaved parts, so that each holds every prompt."""
        return [
            Demonstrations(self.examples[i::parts], self.raters[i::parts], self.weight[i::parts], self.log) for i in range(parts)
        ]  # fmt: skip


def imitate_rounds(start: Start, choices: int, targets: Callable[[int], Demonstrations]) -> "Imitation":
    """Imitation of `targets(round)`, rounds in which each rater says `choices` things to each prompt, cut into batches."""
    start.check_room(start.of_reference)
    settings = start.settings
    parts = max(1, settings.prompts * settings.raters * choices // settings.batch_size)

    @lru_cache(maxsize=1)
    def batches(round_: int) -> list[Demonstrations]:
        return targets(round_).split(parts)

    return Imitation(start.policy, lambda step: batches(step // parts)[step % parts])


class Imitation:
    """Batches that are given by a function of the step; `space` where they teach rater vectors too."""

    def __init__(self, policy: Policy, batch: Callable[[int], Demonstrations], space: RaterSpace | None = None):
        self.policy, self.batch, self.space = policy, batch, space
        self.state: dict[str, float] = {}

    def loss(self, batch: Demonstrations, step: int) -> tuple[Tensor, Log]:
        device = self.policy.lm.device
        raters = batch.raters.to(device)
        if batch.rater is not None:
            raters = RaterBatch(self.space(batch.rater.to(device)), raters.null)
        log_prob, entropy = completion_log_probs(self.policy, batch.examples, raters)
        loss = losses.imitation_loss(log_prob, batch.weight.to(device))
        return loss, {"loss": loss, "entropy": entropy.mean(), "tokens": float(sum(map(len, batch.examples)))} | batch.log
