"""What the stages `base` and `sft` share: imitation of rows that are a function of the step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from raterhf.data.batches import StepRows
from raterhf.models.policy import Policy
from raterhf.raters.space import RaterSpace
from raterhf.training.algorithms.imitation import Demonstrations, Imitation
from raterhf.training.policy_module import PolicyModule
from raterhf.training.replay import Replay, beside

TOGETHER = 4  # answers of a rater that are read after one rater's soft tokens and one prompt


def imitate(
    policy: Policy,
    make: Callable[[np.ndarray, int], Demonstrations],
    n: int,
    batch_size: int,
    seed: int,
    space: RaterSpace | None = None,
    replay: Replay | None = None,
    together: np.ndarray | None = None,
) -> tuple[PolicyModule, Callable[[int], Any]]:
    """The module that imitates `make(rows, step)`, rows of n examples, and its batch of a step. Examples that have the same number in
    `together` [n] come together, some at a time, where they share what stands before them."""

    rows = StepRows(np.zeros(n, np.int64), batch_size, 1, seed) if together is None else StepRows(together, batch_size, TOGETHER, seed)

    def batch(step: int) -> Demonstrations:
        return make(rows(step), step)

    algorithm = beside(replay, Imitation(policy, batch, space))
    return PolicyModule(policy, algorithm, seed, space), algorithm.batch
