"""What the stages `base` and `sft` share: training by imitation on rows that are a function of the step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from raterhf.data.batches import step_indices
from raterhf.models.policy import Policy
from raterhf.raters.space import RaterSpace
from raterhf.recipe import BaseSettings, Recipe, SftSettings
from raterhf.training.algorithms.imitation import Demonstrations, Imitation
from raterhf.training.fit import fit
from raterhf.training.monitor import Monitor
from raterhf.training.policy_module import PolicyModule


def fit_imitation(
    recipe: Recipe, folder: Path, policy: Policy, settings: BaseSettings | SftSettings, make: Callable[[np.ndarray, int], Demonstrations],
    n: int, monitor: Monitor | None, space: RaterSpace | None = None,
) -> None:  # fmt: skip
    """Train on `make(rows, step)`, rows of n examples."""
    rates = {"policy.reader.": recipe.raters.reader_lr} | ({"space.": settings.vector_lr} if space else {})

    def batch(step: int) -> Demonstrations:
        return make(step_indices(np.zeros(n, np.int64), settings.batch_size, 1, step, recipe.seed), step)

    module = PolicyModule(policy, Imitation(policy, batch, space), recipe.seed, space)
    fit(module, batch, settings, folder, rates, recipe.tensorboard, monitor)
