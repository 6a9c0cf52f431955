"""Training a policy, as a LightningModule. What is optimised is the algorithm's; this file knows none of them.

Loss and figures are those of this process's part of a batch, so that their means over processes are the batch's.
"""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from raterhf.models.policy import Policy
from raterhf.raters.space import RaterSpace
from raterhf.training.algorithms.base import Algorithm

SHOWN = ("loss", "reward", "kl", "entropy")  # beside the progress bar, where the algorithm logs them


class PolicyModule(L.LightningModule):
    """`space` where the algorithm teaches rater vectors beside the policy, `learned` what else it does."""

    def __init__(
        self, policy: Policy, algorithm: Algorithm, seed: int, space: RaterSpace | None = None, learned: nn.Module | None = None
    ):  # fmt: skip
        super().__init__()
        self.space, self.learned = space, learned
        self.policy, self.algorithm, self.seed = policy, algorithm, seed

    def training_step(self, batch: tuple[int, Any], _: int) -> Tensor:
        step, data = batch
        torch.manual_seed(self.seed * 1_000_003 + step)
        loss, log = self.algorithm.loss(data, step)
        for key, value in log.items():
            self.log(f"train/{key}", value, prog_bar=key in SHOWN, sync_dist=True)
        return loss
