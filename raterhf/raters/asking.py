"""Which pair to show to a person next: the one whose label is expected to tell most of who they are.

What a label tells is the mutual information between it and the taste (Houlsby et al. 2011: what is unsure of the label, less what would be
unsure of it if the taste were known), under the person's posterior and the label's noise. A pair that nobody could be sure of tells
nothing, nor does one on which all who the person may be agree.

Notation: N pairs, k dimensions of taste.
"""

import numpy as np
from scipy.special import ndtri

from raterhf.raters.inference import Noise, Statements, label_likelihood

POINTS = ndtri((np.arange(64) + 0.5) / 64)  # of a standard normal, equally likely: wide margins need them denser than a quadrature's


def information(margin: np.ndarray, width: np.ndarray, noise: Noise) -> np.ndarray:
    """Expected information of a label [N] in nats, where the margin of its pair is normal with this mean and standard deviation [N]."""
    margins = margin + POINTS[:, None] * width  # [points, N]
    logs = np.stack([_likelihood(margins, label, noise)[0] for label in (1, 0, -1)])
    each = np.exp(logs)
    known = -(each * logs).sum(0).mean(0)
    mean = each.mean(1)
    return -(mean * np.log(np.maximum(mean, 1e-300))).sum(0) - known


def propose(margin: np.ndarray, slope: np.ndarray, covariance: np.ndarray, noise: Noise, count: int) -> tuple[list[int], list[float]]:
    """`count` pairs, the most telling first, each told beside those before it; and the information of each, in nats.

    `margin` [N] and `slope` [N, k] are at the posterior's mean, whose `covariance` is [k, k]. What the labels before leave uncertain is
    taken as it is expected to be.
    """
    covariance, left = covariance.copy(), np.ones(len(margin), bool)
    chosen, told = [], []
    for _ in range(min(count, len(margin))):
        width = np.sqrt(np.maximum(np.einsum("nk,kl,nl->n", slope, covariance, slope), 0))
        found = np.where(left, information(margin, width, noise), -np.inf)
        best = int(found.argmax())
        chosen.append(best)
        told.append(float(found[best]))
        left[best] = False
        along = covariance @ slope[best]
        curved = _curvature(margin[best], width[best], noise)
        covariance -= curved * np.outer(along, along) / (1 + curved * width[best] ** 2)
    return chosen, told


def _likelihood(margins: np.ndarray, label: int, noise: Noise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = margins.shape[-1]
    said = Statements(np.zeros(n, np.int64), np.full(n, label), np.full(n, -1), np.ones(n))
    return label_likelihood(margins, said, noise)


def _curvature(margin: float, width: float, noise: Noise) -> float:
    """Expected Fisher information of a label about its pair's margin."""
    at = (margin + POINTS * width)[:, None]
    found = [_likelihood(at, label, noise) for label in (1, 0, -1)]
    return float(sum(np.exp(log_prob) * slope**2 for log_prob, slope, _ in found).mean())
