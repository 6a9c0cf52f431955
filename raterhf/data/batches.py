"""Which examples a training step reads: a pure function of seed and step, so that a run resumes anywhere."""

from functools import lru_cache

import numpy as np


def step_indices(groups: np.ndarray, batch_size: int, block: int, step: int, seed: int) -> np.ndarray:
    """The examples of one step: a pure function of the step, so that a run resumes anywhere.

    An epoch is a seeded permutation of blocks, each of up to `block` examples of one group (of `groups` [N], a number each): examples
    that share a prompt come together and share its work. With block 1 it is a plain permutation.
    """
    per_epoch = max(1, len(groups) // batch_size)
    order = _epoch(groups.tobytes(), len(groups), block, step // per_epoch, seed)
    start = (step % per_epoch) * batch_size
    return order[start : start + batch_size]


@lru_cache(maxsize=4)
def _epoch(groups: bytes, n: int, block: int, epoch: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    order = rng.permutation(n)
    if block == 1:
        return order
    group = np.frombuffer(groups, dtype=np.int64)[order]
    order = order[np.argsort(group, kind="stable")]
    cuts = np.flatnonzero(np.diff(np.sort(group))) + 1
    blocks = [part[i : i + block] for part in np.split(order, cuts) for i in range(0, len(part), block)]
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
