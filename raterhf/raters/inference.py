"""Raters inferred from their labels: the posterior of a taste under the population, items and weights held fixed.

A rater is an unknown z with the population (a mixture of Gaussians) as prior. A comparison says something of its margin m(z) = s(a; z) -
s(b; z) alone, with probability as in `training/losses.py`: ordered logit with ties, and a share of labels that say the opposite. Each
component of the prior gives a Gaussian, and a weight by its (Laplace) evidence; together they are the posterior, a mixture again. The
Gaussian is the variational one (Opper and Archambeau 2009): from the mode, found by damped Newton steps, to where slope and curvature of
the log posterior are averaged over the Gaussian itself, which holds what it promises where the mode's own would be too narrow. Without
labels the posterior is the population itself.

It trains nothing and knows nothing of models: how margins depend on tastes is a function that the caller gives.

Notation: R raters, N comparisons, k dimensions of taste, C components of the population.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, logsumexp

from raterhf.raters.population import Population

STEPS = 50  # of Newton at most; some five are enough where margins are nearly linear
GAIN = 1e-5  # a step that promises less, in nats, is not taken: margins in fp32 are no surer
ROUNDS = 4  # from the mode to the mean
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()

Margins = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Tastes [R, k] -> the margin [N] of each comparison for its rater, and its slope [N, k]."""


@dataclass(frozen=True)
class Statements:
    """N comparisons: `rater` [N] from 0, `label` [N] 1 (a), -1 (b), 0 (tie), `grade` [N] how much better, -1 where that is not said.

    `weight` [N] is how many independent comparisons one counts for: pairs of the same ratings count for less than one.
    """

    rater: np.ndarray
    label: np.ndarray
    grade: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Noise:
    """Margins `cuts` [L] from which on a is better by a grade or more, ascending from the tie width; the share of labels that lie."""

    cuts: np.ndarray
    label_noise: float


@dataclass(frozen=True)
class Posterior:
    """What is known of R raters: a mixture each, of `weights` [R, C], `means` [R, C, k] and `covariances` [R, C, k, k].

    `log_evidence` [R] is the log-probability of a rater's labels under the population, in nats.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_evidence: np.ndarray

    def mean(self) -> np.ndarray:
        """[R, k]."""
        return np.einsum("rc,rck->rk", self.weights, self.means)

    def covariance(self) -> np.ndarray:
        """[R, k, k], of the whole mixture."""
        apart = self.means - self.mean()[:, None]
        within = self.covariances + apart[..., :, None] * apart[..., None, :]
        return np.einsum("rc,rckl->rkl", self.weights, within)

    def of(self, rater: int) -> Population:
        """One rater's posterior as what can be drawn from."""
        return Population(self.weights[rater], self.means[rater], np.linalg.cholesky(self.covariances[rater]))


def label_likelihood(margin: np.ndarray, statements: Statements, noise: Noise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(label | margin) [..., N], and its first and second derivative by the margin [..., N].

    That a is better by grade g has probability sigmoid(m - cuts[g]) - sigmoid(m - cuts[g + 1]), which is sigmoid(m - low) sigmoid(high - m)
    times a constant, and a tie is the same between -cuts[0] and cuts[0]; in this form nothing cancels, however large the margin.
    """
    cuts = np.concatenate([noise.cuts, [np.inf]])
    decided, grade = statements.label != 0, np.maximum(statements.grade, 0)
    low = np.where(decided, cuts[grade], -cuts[0])
    high = np.where(decided, np.where(statements.grade < 0, np.inf, cuts[grade + 1]), cuts[0])
    sign = np.where(decided, statements.label, 1)
    said, first, second = _between(sign * margin, low, high)
    first = sign * first
    if noise.label_noise == 0:
        return said, first, second
    other, other_first, other_second = _between(-sign * margin, low, high)
    other_first = -sign * other_first
    share = np.where(decided, noise.label_noise, 0.0)
    with np.errstate(divide="ignore"):
        parts = np.stack([np.log1p(-share) + said, np.log(share) + other])
    both = logsumexp(parts, 0)
    true, lie = np.exp(parts - both)
    slope = true * first + lie * other_first
    return both, slope, true * (second + first**2) + lie * (other_second + other_first**2) - slope**2


def _between(margin: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log(sigmoid(margin - low) - sigmoid(margin - high)) and its two derivatives; `high` may be infinite."""
    above, below = expit(margin - low), expit(high - margin)
    log_prob = log_expit(margin - low) + log_expit(high - margin) + np.log1p(-np.exp(low - high))
    return log_prob, below - above, -above * (1 - above) - below * (1 - below)


def infer(margins: Margins, statements: Statements, noise: Noise, prior: Population, raters: int) -> Posterior:
    """The posterior of `raters` raters; one without statements has the population."""
    parts = [_gaussian(margins, statements, noise, mean, factor @ factor.T, raters) for mean, factor in zip(prior.means, prior.factors)]
    log_weight = np.stack([evidence for _, _, evidence in parts], 1) + np.log(prior.weights / prior.weights.sum())
    total = logsumexp(log_weight, 1)
    weights = np.exp(log_weight - total[:, None])
    return Posterior(weights, np.stack([mean for mean, _, _ in parts], 1), np.stack([cov for _, cov, _ in parts], 1), total)


def _gaussian(
    margins: Margins, statements: Statements, noise: Noise, mean: np.ndarray, covariance: np.ndarray, raters: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Mean [R, k], covariance [R, k, k] and log evidence [R] under one Gaussian prior.

    A step that would lower a rater's log posterior is halved for that rater, so every rater climbs.
    """
    rater, weight, prior = statements.rater, statements.weight, np.linalg.inv(covariance)
    order = np.argsort(rater, kind="stable")
    own = np.split(order, np.searchsorted(rater[order], np.arange(1, raters)))  # the rows of each rater

    def look(z: np.ndarray, covariance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log posterior [R] but for the prior's constant, its gradient [R, k] and curvature [R, k, k]: at z, or their means around it."""
        margin, slope = margins(z)
        if covariance is None:
            log_prob, first, second = label_likelihood(margin, statements, noise)
        else:
            width = np.sqrt(np.maximum(np.einsum("nk,nkl,nl->n", slope, covariance[rater], slope), 0))
            each = label_likelihood(margin + NODES[:, None] * width, statements, noise)
            log_prob, first, second = (NODE_WEIGHTS @ part for part in each)
        apart = (z - mean) @ prior
        value = np.bincount(rater, weight * log_prob, raters) - ((z - mean) * apart).sum(1) / 2
        gradient = np.stack([slope[rows].T @ (weight * first)[rows] for rows in own]) - apart
        told = lambda second: np.stack([(slope[rows].T * (-weight * second)[rows]) @ slope[rows] for rows in own]) + prior  # noqa: E731
        curvature = told(second)
        # Where a label may lie its log-probability curves upward at places, of which together nothing may be left to climb by.
        upward = np.linalg.eigvalsh(curvature)[:, 0] < np.linalg.eigvalsh(prior)[0] / 2
        if upward.any():
            curvature[upward] = told(np.minimum(second, 0))[upward]
        return value, gradient, curvature

    z, size = np.tile(mean, (raters, 1)), np.ones(raters)
    value, gradient, curvature = look(z)
    for _ in range(STEPS):
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        if ((gradient * step).sum(1) / 2 < GAIN).all():  # what the step would bring by the slope and curvature here
            break
        trial = z + size[:, None] * step
        there = look(trial)
        better = there[0] >= value
        z = np.where(better[:, None], trial, z)
        value = np.where(better, there[0], value)
        gradient = np.where(better[:, None], there[1], gradient)
        curvature = np.where(better[:, None, None], there[2], curvature)
        size = np.where(better, 1.0, size / 2)
    log_evidence = value + (np.linalg.slogdet(prior)[1] - np.linalg.slogdet(curvature)[1]) / 2
    for _ in range(ROUNDS):
        _, gradient, curvature = look(z, np.linalg.inv(curvature))
        z = z + np.linalg.solve(curvature, gradient[..., None])[..., 0]
    return z, np.linalg.inv(curvature), log_evidence
