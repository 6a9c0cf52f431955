"""GRPO: advantages are a group's rewards in units of their own spread, ratios are clipped token by token, and the KL penalty stands beside
the reward (Shao et al. 2024, equations 3 and 4), by TRL.

The paper's loss is `loss_type: grpo` with `scale_rewards: group`, which are not TRL's defaults.
"""

from pathlib import Path

from trl import GRPOConfig, GRPOTrainer

from raterhf.evaluation.methods.base import Work
from raterhf.evaluation.methods.online import ReadOnce, train_online

CONFIG = GRPOConfig


class ReadOnceGRPO(ReadOnce, GRPOTrainer):
    """TRL's, whose models read the texts of a batch once each."""


def train(work: Work, out: Path) -> Path:
    return train_online(work, out, GRPOConfig, ReadOnceGRPO)
