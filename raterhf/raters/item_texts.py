"""What a factor model says of items that nobody rated: their means and loadings, from their text.

Gaussian process regression on the items that were rated. The kernel is a sum over blocks of features (a sentence encoder's, style) of a
linear and a squared-exponential one; its weights and the noise are the likeliest ones for what is regressed on, means and loadings apart,
so nothing is set by hand. Loadings have one kernel, since factors are known up to a rotation only.

Notation: I items, m values of each, O of them rated.
"""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize


def kernels(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Two kernels [2 B, I, I] for each of B blocks of features [I, f], of which each is centred and brought to unit length on average."""
    found = []
    for block in blocks:
        apart = block - block.mean(0)
        if block.shape[1] < 64:  # few features in units of their own; an encoder's are alike
            apart = apart / (block.std(0) + 1e-9)
        apart = apart / np.sqrt((apart**2).sum(1).mean() + 1e-12)
        squares = (apart**2).sum(1)
        inner = apart @ apart.T
        found += [inner, np.exp(inner - squares[:, None] / 2 - squares / 2)]
    return np.stack(found)


def predict(kernel: np.ndarray, rated: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values [I, m] of all items, from `values` [O, m] of those that are `rated` [O], with `kernel` [K, I, I]."""
    centre = values.mean(0)
    apart = values - centre
    spread = np.sqrt((apart**2).mean(0)) + 1e-12
    own = kernel[:, rated[:, None], rated]
    weights = _likeliest(own, apart / spread)
    gram = np.tensordot(weights[:-1], own, 1) + weights[-1] * np.eye(len(rated))
    return centre + np.tensordot(weights[:-1], kernel[:, :, rated], 1) @ cho_solve(cho_factor(gram), apart)


def _likeliest(kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weights [K + 1] of the kernels and the noise by marginal likelihood, under a wide log-normal prior."""
    n, m = values.shape

    def loss(logs: np.ndarray) -> float:
        weights = np.exp(logs)
        factor = cho_factor(np.tensordot(weights[:-1], kernel, 1) + (weights[-1] + 1e-6) * np.eye(n), lower=True)
        fit = (values * cho_solve(factor, values)).sum() / 2
        return float(fit + m * np.log(np.diag(factor[0])).sum() + (logs**2).sum() / 100)

    return np.exp(minimize(loss, np.full(len(kernel) + 1, -1.0), method="L-BFGS-B").x)
