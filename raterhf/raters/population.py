"""The population: a mixture of Gaussians over rater vectors, fitted to the known raters, from which fictitious raters are drawn.

Its size, covariance form and width are chosen by the marginal likelihood of validation raters' labels. Drawing uses numpy's PCG64 alone,
so that rater number 7 is the same person on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Fewer members than this and a mixture of its own would be noise.
MIN_MEMBERS = 8
# Draws by which a candidate population is tested.
TEST_DRAWS = 256


@dataclass(frozen=True)
class Population:
    """Weights [C], means [C, k] and Cholesky factors [C, k, k] of the components."""

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One vector [k]."""
        component = np.searchsorted(self.weights.cumsum(), rng.random() * self.weights.sum())
        component = min(int(component), len(self.weights) - 1)
        return self.means[component] + self.factors[component] @ rng.standard_normal(self.means.shape[1])

    def draws(self, n: int, seed: int) -> np.ndarray:
        """n vectors [n, k]."""
        rng = np.random.default_rng(seed)
        return np.stack([self.draw(rng) for _ in range(n)])

    def log_density(self, vectors: np.ndarray) -> np.ndarray:
        """log p of vectors [N, k] -> [N]."""
        logs = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors):
            z = np.linalg.solve(factor, (vectors - mean).T)
            logs.append(np.log(weight) - 0.5 * (z**2).sum(0) - np.log(np.diag(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi))
        return np.logaddexp.reduce(logs, axis=0)

    def covariance(self) -> np.ndarray:
        """[k, k], of the whole mixture."""
        weights = self.weights / self.weights.sum()
        apart = self.means - weights @ self.means
        within = self.factors @ self.factors.transpose(0, 2, 1)
        return np.einsum("c,ckl->kl", weights, within + apart[:, :, None] * apart[:, None, :])

    def widened(self, scale: float) -> "Population":
        return Population(self.weights, self.means, scale * self.factors)


def _mixture(vectors: np.ndarray, components: int, form: str, seed: int) -> Population:
    floor = 1e-3 * float(vectors.var(0).mean()) + 1e-12
    if components == 1:  # in closed form, which takes a single rater too
        spread = np.cov(vectors.T, bias=True).reshape(vectors.shape[1], -1) if form == "full" else np.diag(vectors.var(0))
        return Population(np.ones(1), vectors.mean(0, keepdims=True), np.linalg.cholesky(spread + floor * np.eye(len(spread)))[None])
    from sklearn.mixture import GaussianMixture  # slow to import, and only this needs it

    fitted = GaussianMixture(components, covariance_type=form, reg_covar=floor, n_init=2, random_state=seed).fit(vectors)
    covariance = fitted.covariances_ if form == "full" else np.stack([np.diag(v) for v in fitted.covariances_])
    return Population(fitted.weights_, fitted.means_, np.linalg.cholesky(covariance))


def fit_population(
    vectors: np.ndarray, components: list[int], scales: list[float], seed: int, likelihood: Callable[[np.ndarray], float] | None = None
) -> tuple[Population, list[dict]]:
    """Fit every candidate to `vectors` [R, k]; the best wins.

    `likelihood` gives the mean log-likelihood of validation raters' labels for draws [M, k] of a candidate. Without it one half of the
    vectors tests what is fitted to the other, by log-density. Returns the population and a row per candidate, the winner first.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(len(vectors))
    half = max(1, len(vectors) // 2)
    train = vectors if likelihood else vectors[order[:half]]
    other = vectors[order[half:]] if len(vectors) > 1 else vectors
    trials: list[dict[str, Any]] = []
    fitting = {size for size in components if size == 1 or 2 * size <= len(train)}
    for size in sorted(fitting or {1}):
        for form in ("diag", "full"):
            fitted = _mixture(train, size, form, seed)
            for scale in scales:
                candidate = fitted.widened(scale)
                value = likelihood(candidate.draws(TEST_DRAWS, seed)) if likelihood else float(candidate.log_density(other).mean())
                trials.append({"components": size, "form": form, "scale": scale, "log_likelihood": value})
    trials.sort(key=lambda trial: -trial["log_likelihood"])
    best = trials[0]
    return _mixture(vectors, best["components"], best["form"], seed).widened(best["scale"]), trials
