"""Imitation: raise the log-probability of given completions under their raters. The stages base and sft train by it alone.

Where several processes train, each reads its part of a batch that all of them make, or of a round of which each has made a part itself.
"""

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
from raterhf.training import losses, ranks
from raterhf.training.algorithms.base import Log, Start

TOGETHER = 8  # rounds of sampling whose answers are imitated together


@dataclass(frozen=True)
class Demonstrations:
    """A batch to imitate: examples [N] under their raters, with weights [N], and what to log of it.

    With `rater` [N] the taste is not that of `raters` but these rows of the rater space, which learns. With `whole` they are this process's
    own part of a batch of so many.
    """

    examples: list[Example]
    raters: RaterBatch
    weight: Tensor
    log: dict[str, float]
    rater: Tensor | None = None
    whole: int | None = None

    @classmethod
    def of_nobody(cls, examples: list[Example]) -> "Demonstrations":
        return cls(examples, RaterBatch.nobody(len(examples)), torch.ones(len(examples)), {})

    @classmethod
    def joined(cls, parts: list["Demonstrations"]) -> "Demonstrations":
        """Parts of several rounds as one batch, with the means of what they log."""
        vectors, null = (torch.cat([getattr(part.raters, name) for part in parts]) for name in ("vectors", "null"))
        log = {key: sum(part.log[key] for part in parts) / len(parts) for key in parts[0].log}
        examples = [example for part in parts for example in part.examples]
        weight = torch.cat([part.weight for part in parts])
        return cls(examples, RaterBatch(vectors, null), weight, log, whole=sum(part.whole or 0 for part in parts))

    def split(self, parts: int) -> list["Demonstrations"]:
        """Interleaved parts of the round, so that each holds every prompt. Processes have made the round one after the other's prompts."""
        told = ranks.gathered([len(self.examples), *self.log.values()])
        made = [int(count) for count, *_ in told]
        total, before = sum(made), sum(made[: ranks.rank()])
        means = [sum(n * value for n, value in zip(made, values)) / max(1, total) for values in zip(*(numbers for _, *numbers in told))]
        log, batches = dict(zip(self.log, means)) if len(made) > 1 else self.log, []
        for i in range(parts):
            own = slice((i - before) % parts, None, parts)
            whole = len(range(i, total, parts))
            batches.append(Demonstrations(self.examples[own], self.raters[own], self.weight[own], log, whole=whole))
        return batches


def imitate_rounds(start: Start, choices: int, targets: Callable[[int], Demonstrations]) -> "Imitation":
    """Imitation of `targets(round)`, rounds in which each rater says `choices` things to each prompt, cut into batches.

    A batch has answers of TOGETHER rounds, or of all that the training needs: updates on the few prompts of one round at a time unlearn how
    answers to the others are distributed.
    """
    start.check_room(start.of_reference)
    settings = start.settings
    parts = max(1, settings.prompts * settings.raters * choices // settings.batch_size)
    rounds = min(TOGETHER, -(-settings.steps // parts))

    @lru_cache(maxsize=1)
    def batches(number: int) -> list[Demonstrations]:
        made = [targets(round_).split(parts * rounds) for round_ in range(number * rounds, (number + 1) * rounds)]
        # A round of fewer rows than batches has some for the first of its parts, which are of other batches for each round.
        return [Demonstrations.joined([cut[i - parts * k] for k, cut in enumerate(made)]) for i in range(parts * rounds)]

    return Imitation(start.policy, lambda step: batches(step // (parts * rounds))[step % (parts * rounds)])


class Imitation:
    """Batches that are given by a function of the step; `space` where they teach rater vectors too."""

    def __init__(self, policy: Policy, batch: Callable[[int], Demonstrations], space: RaterSpace | None = None):
        self.policy, self.batch, self.space = policy, batch, space
        self.state: dict[str, float] = {}

    def loss(self, batch: Demonstrations, step: int) -> tuple[Tensor, Log]:
        device = self.policy.lm.device
        raters = batch.raters.to(device)
        if batch.rater is not None:  # under noise drawn for the whole batch, which is the same however many processes share it
            raters = RaterBatch(self.space(batch.rater.to(device)), raters.null)
        whole, own = (len(batch.examples), ranks.part(len(batch.examples))) if batch.whole is None else (batch.whole, slice(None))
        examples, weight = batch.examples[own], batch.weight[own].to(device)
        log = {"tokens": float(ranks.count() * sum(map(len, examples)))} | batch.log
        if not examples:
            nothing = losses.of_nothing(self.policy)
            return nothing, {"loss": nothing, "entropy": nothing} | log
        log_prob, entropy = completion_log_probs(self.policy, examples, raters[own])
        share = ranks.share(len(examples), whole)
        loss = losses.imitation_loss(log_prob, weight) * share
        return loss, {"loss": loss, "entropy": entropy.mean() * share} | log
