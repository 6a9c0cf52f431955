"""How reward moves with optimisation pressure: the curve of Gao, Schulman and Hilton 2023 (Scaling distributions for reward model
overoptimization).

For RL, gold reward over d = sqrt(KL), nats from the model that RL began with, is R(d) = R(0) + d (alpha - beta log d): the true reward that
the proxy buys falls with each further step away from it, until it costs. Linear in R(0), alpha and beta, hence least squares.
"""

import numpy as np
from scipy.special import xlogy


def design(d: np.ndarray) -> np.ndarray:
    """Columns [N, 3] of the curve at d [N]: its coefficients are R(0), alpha and beta."""
    return np.stack([np.ones_like(d), d, -xlogy(d, d)], 1)


def fit_curve(d: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Coefficients (R(0), alpha, beta) by least squares; the smallest ones where d [N] has fewer than three different values."""
    return np.linalg.lstsq(design(d), reward, rcond=None)[0]
