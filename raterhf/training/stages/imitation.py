"""What the stages `base` and `sft` share: imitation of rows that are a function of the step."""

from collections.abc import Callable

import numpy as np

from raterhf.data.batches import step_indices
from raterhf.models.policy import Policy
from raterhf.raters.space import RaterSpace
from raterhf.training.algorithms.imitation import Demonstrations, Imitation
from raterhf.training.policy_module import PolicyModule


def imitate(
    policy: Policy, make: Callable[[np.ndarray, int], Demonstrations], n: int, batch_size: int, seed: int, space: RaterSpace | None = None
) -> tuple[PolicyModule, Callable[[int], Demonstrations]]:
    """The module that imitates `make(rows, step)`, rows of n examples, and its batch of a step."""

    def batch(step: int) -> Demonstrations:
        return make(step_indices(np.zeros(n, np.int64), batch_size, 1, step, seed), step)

    return PolicyModule(policy, Imitation(policy, batch, space), seed, space), batch
