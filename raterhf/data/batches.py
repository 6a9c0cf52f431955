"""Which examples a training step reads: a pure function of seed and step, so that a run resumes anywhere."""

import numpy as np


class StepRows:
    """The examples [batch_size] of each step, of N in `groups` [N] (a number each); all of them where they are fewer.

    An epoch is a seeded permutation of blocks, each of up to `block` examples of one group: examples that share a prompt come together and
    share its work. With block 1 it is a plain permutation. The order of one epoch is kept, so that a step costs no more the more there are.
    """

    def __init__(self, groups: np.ndarray, batch_size: int, block: int, seed: int):
        self.groups, self.batch_size, self.block, self.seed = groups, batch_size, block, seed
        self.epoch, self.order = -1, np.zeros(0, np.int64)

    def __call__(self, step: int) -> np.ndarray:
        per_epoch = max(1, len(self.groups) // self.batch_size)
        if step // per_epoch != self.epoch:
            self.epoch = step // per_epoch
            self.order = self._shuffled(np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch])))
        start = (step % per_epoch) * self.batch_size
        return self.order[start : start + self.batch_size]

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        order = rng.permutation(len(self.groups))
        if self.block == 1:
            return order
        group = self.groups[order]
        order = order[np.argsort(group, kind="stable")]
        cuts = np.flatnonzero(np.diff(np.sort(group))) + 1
        blocks = [part[i : i + self.block] for part in np.split(order, cuts) for i in range(0, len(part), self.block)]
        return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
