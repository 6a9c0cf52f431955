"""Training a policy, as a LightningModule: imitation (base, sft, forward KL) and REINFORCE leave-one-out.

The batches say what is imitated; this file knows nothing of where they come from. For rloo a batch is prompts and raters, and the samples
are drawn here, from the policy as it is.
"""

from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor

from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import completion_log_probs
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.training import losses
from raterhf.training.rollouts import Imitation, Judge


@dataclass(frozen=True)
class Groups:
    """What a step of rloo asks: prompts [G] (token ids), each under its rater and answered `size` times."""

    prompts: list[tuple[int, ...]]
    raters: RaterBatch
    size: int


class KLController:
    """Moves beta so that the KL per completion stays near a target (Ziegler et al. 2019), as `target_kl` asks."""

    def __init__(self, beta: float, target: float | None):
        self.beta, self.target = beta, target

    def update(self, kl: float) -> None:
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.beta *= 1 + 0.1 * error


class PolicyModule(L.LightningModule):
    """`judge` and `sampler` are needed for rloo only, `space` where imitation learns rater vectors."""

    def __init__(self, policy: Policy, seed: int, judge: Judge | None = None, sampler: Sampler | None = None,
                 beta: float = 1.0, target_kl: float | None = None, space: RaterSpace | None = None):  # fmt: skip
        super().__init__()
        self.space = space
        self.policy, self.seed = policy, seed
        self.frozen = (judge, sampler)
        self.controller = KLController(beta, target_kl)

    def training_step(self, batch: tuple[int, Imitation | Groups], _: int) -> Tensor:
        step, data = batch
        torch.manual_seed(self.seed * 1_000_003 + step)
        return self._imitate(data) if isinstance(data, Imitation) else self._reinforce(data, step)

    def _imitate(self, data: Imitation) -> Tensor:
        raters = data.raters.to(self.device)
        if data.rater is not None:
            raters = RaterBatch(self.space(data.rater.to(self.device)), raters.null)
        log_prob, entropy = completion_log_probs(self.policy, data.examples, raters)
        loss = losses.imitation_loss(log_prob, data.weight.to(self.device))
        self.log_dict({"train/loss": loss, "train/entropy": entropy.mean()}, prog_bar=True)
        self.log_dict({f"train/{key}": value for key, value in data.log.items()})
        return loss

    def _reinforce(self, groups: Groups, step: int) -> Tensor:
        judge, sampler = self.frozen
        prompts = [prompt for prompt in groups.prompts for _ in range(groups.size)]
        raters = groups.raters.repeat_each(groups.size).to(self.device)
        examples = sampler.generate(prompts, raters, self.seed * 1_000_003 + step)
        log_prob, entropy = completion_log_probs(self.policy, examples, raters)
        score, reference = judge.scores(examples, raters), judge.reference_log_probs(examples, raters)
        reward = losses.sequence_reward(score, reference, log_prob.detach(), self.controller.beta)
        grouped = reward.view(-1, groups.size)
        kl = losses.kl_estimate(log_prob.detach(), reference)
        self.controller.update(float(kl))
        loss = losses.policy_gradient_loss(log_prob, losses.rloo_advantage(grouped).flatten())
        dead = (score.view(-1, groups.size).std(1) < 1e-6).float().mean()
        self.log_dict({"train/reward": score.mean(), "train/kl": kl}, prog_bar=True)
        lengths = torch.tensor([float(len(e) - e.prompt_length) for e in examples])
        self.log_dict({
            "train/entropy": entropy.mean(), "train/zero_variance_groups": dead, "train/beta": self.controller.beta,
            "train/length": lengths.mean(), "train/reward_length_correlation": _correlation(score.cpu(), lengths),
        })  # fmt: skip
        return loss


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-9))
