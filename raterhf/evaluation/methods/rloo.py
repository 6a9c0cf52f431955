"""RLOO: maximise E[reward] - beta KL(policy || SFT model) by REINFORCE with a leave-one-out baseline and the KL penalty inside the sequence
reward (Ahmadian et al. 2024, equations 2 and 8), by TRL. Today's nearest thing to classic RLHF, and so vanilla unless `vanilla.method` says
otherwise.

Iterated, with the reference replaced by the policy each `ref_model_sync_steps` updates, it is the argument `sync_ref_model` of TRL's.
"""

from pathlib import Path
from typing import Any

import torch
from trl import RLOOConfig, RLOOTrainer

from raterhf.evaluation.methods.base import Prompt, Reward, Work
from raterhf.evaluation.methods.online import ReadOnce, online_trainer, train_online
from raterhf.evaluation.trl_means import Means
from raterhf.evaluation.trl_trainers import ALL

CONFIG = RLOOConfig


class ReadOnceRLOO(ReadOnce, RLOOTrainer):
    """TRL's, whose models read the texts of a batch once each."""


def train(work: Work, out: Path) -> Path:
    return train_online(work, out, RLOOConfig, ReadOnceRLOO)


def rloo_trainer(
    sft_dir: Path, out: Path, prompts: list[Prompt], reward: Reward | torch.nn.Module, args: dict[str, Any], seed: int,
    kind: type[RLOOTrainer] = RLOOTrainer, means: Means = ALL,
) -> RLOOTrainer:  # fmt: skip
    """The trainer of `train`, TRL's own where no other `kind` is given."""
    return online_trainer(RLOOConfig, kind, sft_dir, out, prompts, reward, args, seed, means)
