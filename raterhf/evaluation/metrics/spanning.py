"""Spanning figures: do the embeddings of what is said lie where those of what people say lie? What FID does for images.

Notation: U different texts, with embeddings [U, d] and distances [U, U]; `said` and `people` [U] are how often each text was said by a
model's draws and by people. Repeats count by their number: closed answers repeat, and figures of nearest neighbours that take a radius of
zero for "nothing is near" fail on them.
"""

import numpy as np


def energy_distance(distance: np.ndarray, answers: np.ndarray, people: np.ndarray) -> float:
    """Squared energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo 2013), of the two distributions of counts: never
    negative."""
    gap = answers / answers.sum() - people / people.sum()
    return float(-gap @ distance @ gap)


def mean_distance(distance: np.ndarray, people: np.ndarray) -> float:
    """Mean distance of two different people's answers; nan for fewer than two people."""
    n = people.sum()
    return float(people @ distance @ people / (n * (n - 1))) if n > 1 else float("nan")


def energy_floor(distance: np.ndarray, n_said: int, people: np.ndarray) -> float:
    """What `energy_distance` has in the mean when the model's draws are as people's: 1/n + 1/m mean distances of two people."""
    return (1 / n_said + 1 / people.sum()) * mean_distance(distance, people)


def frechet_distance(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> np.ndarray:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2) of Gaussians (Heusel et al. 2017): [...] for means [..., d], covariances [..., d, d].

    The trace of the root is the sum of the roots of the eigenvalues of S_a S_b, which are real and not negative but for rounding.
    """
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0)).sum(-1)
    gap = ((mean_a - mean_b) ** 2).sum(-1)
    return np.maximum(gap + np.trace(cov_a + cov_b, axis1=-2, axis2=-1) - 2 * roots, 0)


def moments(embeddings: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and covariance [d, d] (maximum likelihood) of texts [U, d] that were said so often [U]."""
    weight = counts / counts.sum()
    mean = weight @ embeddings
    centred = embeddings - mean
    return mean, (weight[:, None] * centred).T @ centred


def radii(distance: np.ndarray, people: np.ndarray, k: int) -> np.ndarray:
    """Distance [U] from each text that people say to the k-th nearest of the other people's answers; 0 where k others say the same.

    Without meaning where people do not say the text. nan for k people or fewer.
    """
    if people.sum() <= k:
        return np.full(len(people), np.nan)
    order = np.argsort(distance, 1, kind="stable")
    others = people[order].cumsum(1) - 1  # one of those at distance 0 is the text itself
    kth = (others >= k).argmax(1)
    return np.take_along_axis(distance, np.take_along_axis(order, kth[:, None], 1), 1)[:, 0]


def coverage(near: np.ndarray, answers: np.ndarray, people: np.ndarray) -> float:
    """Share of people's answers near which the model said something (Naeem et al. 2020).

    `near` [U, U] is `distance <= radii[:, None]`: equality counts, so that an answer that repeats is covered by the same answer.
    """
    return float(people @ (near @ (answers > 0) > 0) / people.sum())


def vendi_score(similarity: np.ndarray, answers: np.ndarray) -> float:
    """Effective number of different answers, of order 2: 1 / sum of squares of the spectrum of the kernel `similarity` [U, U] with ones on
    its diagonal (Friedman and Dieng 2023; Pasarkar and Dieng 2024), which needs no spectrum.

    1 where one thing is said, as many as there are where all are unlike.
    """
    share = answers / answers.sum()
    return float(1 / (share @ similarity**2 @ share))
