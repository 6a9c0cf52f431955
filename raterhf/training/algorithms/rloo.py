"""RLOO: REINFORCE with a leave-one-out baseline over a rater's samples of a prompt, and a KL penalty in the reward (Ahmadian et al. 2024).

Samples are drawn from the policy as it is, in the step. The option is `target_kl`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from raterhf.engine.scorer import completion_log_probs
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_base import Section
from raterhf.training import losses, ranks
from raterhf.training.algorithms.base import Log, Start

SALT = 0x726C6F6F


class Settings(Section):
    target_kl: float | None = Field(None, gt=0)
    """Nats per completion that a controller steers the KL to by moving beta. None: beta stays."""


@dataclass(frozen=True)
class Groups:
    """What a step asks: prompts [G] (token ids), this process's own of `whole`, each under its rater and answered `size` times."""

    prompts: list[tuple[int, ...]]
    raters: RaterBatch
    size: int
    whole: int


def make(start: Start, options: Settings) -> "RLOO":
    start.check_room(start.of_policy)
    return RLOO(start, options.target_kl)


class RLOO:
    """`state` is beta, which a KL controller moves."""

    def __init__(self, start: Start, target_kl: float | None):
        self.start, self.target_kl = start, target_kl
        self.state = {"beta": start.settings.beta}

    def batch(self, step: int) -> Groups:
        start, settings = self.start, self.start.settings
        rng = np.random.default_rng(np.random.SeedSequence([start.seed, step, SALT]))
        chosen = start.choose_prompts(step, SALT)
        raters, texts = start.objective.draw_raters(len(chosen) * settings.raters, settings.known_share, rng)
        # Whole prompts: a rater's samples of one are told apart by how many there are before.
        mine = ranks.part(len(chosen))
        own = slice(mine.start * settings.raters, mine.stop * settings.raters)
        asked = [prompt for prompt in chosen[mine] for _ in range(settings.raters)]
        prompts = [start.renderer.prompt(prompt, text) for prompt, text in zip(asked, texts[own])]
        return Groups(prompts, raters[own], settings.samples, len(texts))

    def loss(self, batch: Groups, step: int) -> tuple[Tensor, Log]:
        start, objective = self.start, self.start.objective
        prompts = [prompt for prompt in batch.prompts for _ in range(batch.size)]
        raters = batch.raters.repeat_each(batch.size)
        examples = start.of_policy.generate(prompts, raters, start.seed * 1_000_003 + step)
        log_prob, entropy = completion_log_probs(start.policy, examples, raters)
        score, reference = objective.scores(examples, raters), objective.reference_log_probs(examples, raters)
        beta = self.state["beta"]
        reward = losses.sequence_reward(score, reference, log_prob.detach(), beta)
        share = ranks.share(len(batch.prompts), batch.whole)
        kl = ranks.averaged(losses.kl_estimate(log_prob.detach(), reference) * share)
        if self.target_kl is not None:
            self.state["beta"] = steered(beta, float(kl), self.target_kl)
        loss = losses.policy_gradient_loss(log_prob, losses.rloo_advantage(reward.view(-1, batch.size)).flatten()) * share
        dead = (score.view(-1, batch.size).std(1) < 1e-6).float().mean()
        lengths = torch.tensor([float(len(e) - e.prompt_length) for e in examples])
        return loss, {
            "reward": score.mean() * share, "kl": kl, "entropy": entropy.mean() * share, "zero_variance_groups": dead * share,
            "beta": self.state["beta"], "length": lengths.mean() * share,
            "tokens": float(ranks.count() * sum(map(len, examples))), "reward_length_correlation": correlation(score.cpu(), lengths),
        }  # fmt: skip


def steered(beta: float, kl: float, target: float) -> float:
    """Beta moved so that the KL per completion stays near a target (Ziegler et al. 2019)."""
    return beta * (1 + 0.1 * min(max(kl / target - 1, -0.2), 0.2))


def correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-9))
