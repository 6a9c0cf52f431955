"""UMAP: people in two dimensions so that neighbours stay neighbours; distances, directions and densities are not kept."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from raterhf.errors import UserError

NEIGHBOURS = 15  # that each person is held to: UMAP's own default


def unroll(vectors: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Points [N, 2] of vectors [N, k], and what places others [M, k] among them. The same on every call; takes seconds.

    Raises UserError where umap-learn is not installed.
    """
    if find_spec("umap") is None:
        raise UserError("UMAP needs the package umap-learn, which is not installed: pip install 'raterhf[umap]'; PCA needs nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba and of a seed's one thread: nothing that a person can act on
        from umap import UMAP

        model = UMAP(n_neighbors=min(NEIGHBOURS, len(vectors) - 1), random_state=0, n_jobs=1)
        points = model.fit_transform(vectors.astype(np.float32))

    def place(others: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.transform(others.astype(np.float32))

    return points, place
