"""What the stages `base` and `sft` share: batches of imitation as a function of the step, and their training."""

import numpy as np
import torch

from raterhf.data.batches import step_indices
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.training.fit import fit
from raterhf.training.monitor import Monitor
from raterhf.training.policy_module import PolicyModule
from raterhf.training.rollouts import Imitation


def plain(examples: list, rows: np.ndarray) -> Imitation:
    return Imitation([examples[i] for i in rows], RaterBatch.nobody(len(rows)), torch.ones(len(rows)), {})


def fit_imitation(recipe, folder, policy, settings, make_rows, n, monitor: Monitor | None, space: RaterSpace | None = None) -> None:
    module = PolicyModule(policy, recipe.seed, space=space)
    rates = {"policy.reader.": recipe.raters.reader_lr} | ({"space.": settings.vector_lr} if space else {})

    def batch(step: int) -> Imitation:
        return make_rows(step_indices(np.zeros(n, np.int64), settings.batch_size, 1, step, recipe.seed), step)

    fit(module, batch, settings, folder, rates, recipe.tensorboard, monitor)
