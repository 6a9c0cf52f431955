"""Symmetric matrices as their upper halves: sums over many labels of outer products are most of the work of inferring raters, and half of
what stands in them is there twice.

Notation: N matrices, k rows, T = k (k + 1) / 2 numbers of a half.
"""

import numpy as np


def outer_halves(vectors: np.ndarray) -> np.ndarray:
    """Halves [N, T] of each vector [N, k] times itself."""
    i, j = np.triu_indices(vectors.shape[1])
    return vectors.take(i, 1) * vectors.take(j, 1)


def halves(matrices: np.ndarray) -> np.ndarray:
    """[N, k, k] -> [N, T]."""
    k = matrices.shape[1]
    i, j = np.triu_indices(k)
    return matrices.reshape(len(matrices), k * k).take(i * k + j, 1)


def whole(halves: np.ndarray) -> np.ndarray:
    """[N, T] -> [N, k, k]."""
    k = int(np.sqrt(2 * halves.shape[1]))
    i, j = np.triu_indices(k)
    found = np.empty((len(halves), k, k))
    found[:, i, j], found[:, j, i] = halves, halves
    return found


def inner_weights(k: int) -> np.ndarray:
    """How often [T] each number of a half stands in its matrix: the sum of products with these weights is that of the whole matrices."""
    i, j = np.triu_indices(k)
    return np.where(i == j, 1.0, 2.0)
