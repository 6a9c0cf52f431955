"""The population: a mixture of Gaussians over rater vectors, fitted to the known raters, from which fictitious raters are drawn.

Its size, covariance form and width are chosen by the mean log-density of validation raters' vectors. Drawing uses numpy's PCG64 alone,
so that rater number 7 is the same person on every machine.
"""

from dataclasses import dataclass

import numpy as np

# Fewer members than this and a mixture of its own would be noise.
MIN_MEMBERS = 8


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

    def log_density(self, vectors: np.ndarray) -> np.ndarray:
        """log p of vectors [N, k] -> [N]."""
        logs = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors):
            z = np.linalg.solve(factor, (vectors - mean).T)
            logs.append(np.log(weight) - 0.5 * (z**2).sum(0) - np.log(np.diag(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi))
        return np.logaddexp.reduce(logs, axis=0)

    def widened(self, scale: float) -> "Population":
        return Population(self.weights, self.means, scale * self.factors)


def _mixture(vectors: np.ndarray, components: int, form: str, seed: int) -> Population:
    from sklearn.mixture import GaussianMixture  # slow to import, and only fitting needs it

    floor = 1e-3 * float(vectors.var(0).mean()) + 1e-12
    fitted = GaussianMixture(components, covariance_type=form, reg_covar=floor, n_init=2, random_state=seed).fit(vectors)
    covariance = fitted.covariances_ if form == "full" else np.stack([np.diag(v) for v in fitted.covariances_])
    return Population(fitted.weights_, fitted.means_, np.linalg.cholesky(covariance))


def fit_population(
    vectors: np.ndarray, validation: np.ndarray, components: list[int], scales: list[float], seed: int
) -> tuple[Population, list[dict]]:
    """Fit every candidate to `vectors` [R, k]; the likeliest for `validation` [V, k] wins.

    Returns the population and one row per candidate (`components, form, scale, log_density`), the winner first. Without validation
    raters the known ones are split in two halves for the choice.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    train, judge = vectors, np.asarray(validation, dtype=np.float64)
    if len(judge) == 0:
        order = np.random.default_rng(seed).permutation(len(vectors))
        half = max(1, len(vectors) // 2)
        train, judge = vectors[order[:half]], vectors[order[half:]] if len(vectors) > 1 else vectors
    trials = []
    for size in sorted(set(components)):
        if size * 2 > len(train) and size > 1:
            continue
        for form in ("diag", "full"):
            candidate = _mixture(train, size, form, seed)
            for scale in scales:
                density = float(candidate.widened(scale).log_density(judge).mean())
                trials.append({"components": size, "form": form, "scale": scale, "log_density": density})
    trials.sort(key=lambda trial: -trial["log_density"])
    best = trials[0]
    chosen = _mixture(vectors, best["components"], best["form"], seed).widened(best["scale"])
    return chosen, trials
