"""Priors over rater space from descriptions of people: what known raters' own descriptions say of their vectors, carried over to others.

A ridge regression of rater vectors on features of descriptions; its ridge is the best on raters left out one at a time. How much of a
vector a description tells is measured on raters in five folds of whom nothing was seen but the description. What it does not tell, the
errors' covariance there, is the spread of the prior: a description says what its people have in common and never who one of them is. With
nothing to tell, the prior is the whole population, as one Gaussian.

Notation: R described raters, P descriptions of nobody in particular, f features, k dimensions of taste.
"""

from dataclasses import dataclass

import numpy as np

from raterhf.raters.population import Population

FOLDS = 5
RIDGES = np.logspace(-3, 4, 15)  # times the mean squared length of features, which is 1
REDRAWS = 400


@dataclass(frozen=True)
class Described:
    """`priors` of P descriptions, and `explained`: the share of the variance of vectors that descriptions tell of raters they were not
    fitted to, [value, low, high], the 95 % interval over raters drawn again. 0 or less is nothing."""

    priors: list[Population]
    explained: list[float]


def describe(known: np.ndarray, vectors: np.ndarray, asked: np.ndarray, population: Population, seed: int) -> Described:
    """Of features `known` [R, f] of raters with `vectors` [R, k], and `asked` [P, f] of descriptions."""
    vectors = vectors.astype(np.float64)
    fold = np.random.default_rng(np.random.SeedSequence([seed, 0x646573])).permutation(len(known)) % FOLDS
    told, usual = np.zeros_like(vectors), np.zeros_like(vectors)
    for one in range(FOLDS):
        back = fold == one
        told[back] = _regress(known[~back], vectors[~back], known[back])
        usual[back] = vectors[~back].mean(0)
    left, all_of_it = ((vectors - of) ** 2 for of in (told, usual))
    # Vectors are point estimates, of which the population's spread is chosen by what labels say; the prior's is in the same units.
    wider = population.covariance().trace() / max(np.cov(vectors.T, bias=True).trace(), 1e-12)
    error = (vectors - told).T @ (vectors - told) / len(vectors)
    spread = wider * (error + 1e-3 * np.eye(len(error)) * error.trace() / len(error))
    factor = np.linalg.cholesky(spread)[None]
    priors = [Population(np.ones(1), mean[None], factor) for mean in _regress(known, vectors, asked)]
    return Described(priors, _explained(left.sum(1), all_of_it.sum(1), seed))


def _regress(features: np.ndarray, vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Vectors [P, k] of those `asked`."""
    from sklearn.linear_model import RidgeCV  # slow to import, and only this needs it

    centre = features.mean(0)
    length = np.sqrt(((features - centre) ** 2).sum(1).mean()) + 1e-12
    return RidgeCV(RIDGES).fit((features - centre) / length, vectors).predict((asked - centre) / length).reshape(len(asked), -1)


def _explained(left: np.ndarray, all_of_it: np.ndarray, seed: int) -> list[float]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x657870]))
    drawn = rng.integers(len(left), size=(REDRAWS, len(left)))
    low, high = np.quantile(1 - left[drawn].sum(1) / np.maximum(all_of_it[drawn].sum(1), 1e-12), [0.025, 0.975])
    return [round(float(value), 4) for value in (1 - left.sum() / max(all_of_it.sum(), 1e-12), low, high)]


def moved(prior: Population, population: Population) -> float:
    """How far a prior's mean is from the population's: near 0 it is everybody, and a person is 1 away, as a root mean square."""
    apart = prior.means[0] - population.weights @ population.means / population.weights.sum()
    return float(np.sqrt(apart @ np.linalg.solve(population.covariance(), apart) / len(apart)))
