"""Items and raters without text: a factor model of ratings with missing values, in which raters are unknowns.

Rater r gives item i the value x = mean_i + loading_i . z_r + e, with z_r ~ N(0, I) and e ~ N(0, noise_i / t_r). A rater's steadiness t_r
is Gamma(nu / 2, nu / 2), so that who answers carelessly tells less of items, and as many labels tell less of them; nu is infinite where
everybody is alike. EM (Rubin and Thayer 1982; the scale mixture after Liu and Rubin 1995) gives items in closed form and raters as
posteriors. Loadings have a normal prior for each factor, whose width is learned (automatic relevance), so the rank is an upper bound; means
have one of all items', which is what a new item has.

Notation: R raters, I items, N ratings, k factors.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from raterhf.raters.symmetric import halves, inner_weights, outer_halves, whole

FEW = 5  # ratings that an item's noise starts from, of all items' noise


@dataclass(frozen=True)
class Ratings:
    """N ratings: `rater` [N] and `item` [N] from 0, `value` [N]."""

    rater: np.ndarray
    item: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.rater)

    def rows(self, index: np.ndarray) -> "Ratings":
        return Ratings(self.rater[index], self.item[index], self.value[index])


@dataclass(frozen=True)
class ItemModel:
    """`mean` [I], `loading` [I, k], `noise` [I] as variance, `nu` of the raters' steadiness (infinite: everybody's is 1)."""

    mean: np.ndarray
    loading: np.ndarray
    noise: np.ndarray
    nu: float

    def fitted(self, tastes: "Tastes", ratings: Ratings) -> np.ndarray:
        """The values [N] of these ratings as the means of their raters' tastes have them."""
        if len(tastes.mean) * len(self.mean) <= 4 * len(ratings):  # then a table of all of them is less work
            return (self.mean + tastes.mean @ self.loading.T)[ratings.rater, ratings.item]
        return self.mean[ratings.item] + np.einsum("nk,nk->n", tastes.mean[ratings.rater], self.loading[ratings.item])


@dataclass(frozen=True)
class Tastes:
    """Posteriors of R raters: `mean` [R, k], `covariance` [R, k, k], and `steadiness` [R]."""

    mean: np.ndarray
    covariance: np.ndarray
    steadiness: np.ndarray


def infer_tastes(model: ItemModel, ratings: Ratings, raters: int, rounds: int = 6) -> Tastes:
    """The posteriors of raters under a model; one without ratings has the prior. `rounds` alternate taste and steadiness."""
    steadiness = np.ones(raters)
    tastes = _tastes(model, ratings, steadiness)
    for _ in range(rounds if np.isfinite(model.nu) else 0):
        steadiness = _steadiness(model, ratings, tastes)
        tastes = _tastes(model, ratings, steadiness)
    return tastes


def _tastes(model: ItemModel, ratings: Ratings, steadiness: np.ndarray) -> Tastes:
    raters = len(steadiness)
    weight = steadiness[ratings.rater] / model.noise[ratings.item]
    told = _matrix(ratings, weight, raters, len(model.mean))
    covariance = np.linalg.inv(whole(told @ outer_halves(model.loading)) + np.eye(model.loading.shape[1]))
    apart = _matrix(ratings, weight * (ratings.value - model.mean[ratings.item]), raters, len(model.mean)) @ model.loading
    return Tastes(np.einsum("rkl,rl->rk", covariance, apart), covariance, steadiness)


def _steadiness(model: ItemModel, ratings: Ratings, tastes: Tastes) -> np.ndarray:
    """E[t_r | ratings] [R]: what is left of a rater's ratings, against what their items' noise would leave."""
    count = np.bincount(ratings.rater, minlength=len(tastes.mean))
    return (model.nu + count) / (model.nu + leftovers(model, ratings, tastes))


def leftovers(model: ItemModel, ratings: Ratings, tastes: Tastes) -> np.ndarray:
    """Sums [R] over a rater's ratings of what taste leaves of them, squared, as expected under the posterior, over their items' noise.

    Given it, steadiness is Gamma((nu + n) / 2, (nu + leftovers) / 2), n being the number of ratings.
    """
    raters = len(tastes.mean)
    left = np.bincount(ratings.rater, (ratings.value - model.fitted(tastes, ratings)) ** 2 / model.noise[ratings.item], raters)
    told = _matrix(ratings, 1 / model.noise[ratings.item], raters, len(model.mean)) @ outer_halves(model.loading)
    return left + (told * halves(tastes.covariance)) @ inner_weights(model.loading.shape[1])


def _matrix(ratings: Ratings, values: np.ndarray, raters: int, items: int) -> csr_matrix:
    return csr_matrix((values, (ratings.rater, ratings.item)), shape=(raters, items))


def fit_items(ratings: Ratings, raters: int, items: int, rank: int, nu: float = np.inf, steps: int = 40, seed: int = 0) -> ItemModel:
    """EM from random loadings. `rank` is the most factors; `nu` as in `ItemModel`."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(ratings.item, minlength=items)
    centre, spread = ratings.value.mean(), ratings.value.var() + 1e-12
    mean = (np.bincount(ratings.item, ratings.value, items) + centre) / (counts + 1)
    noise = (np.bincount(ratings.item, (ratings.value - mean[ratings.item]) ** 2, items) + FEW * spread) / (counts + FEW)
    loading = 0.3 * np.sqrt(spread) * rng.standard_normal((items, rank))
    loading[:, 0] = 0.6 * np.sqrt(spread)  # how high a rater rates everything
    model = ItemModel(mean, loading, noise, nu)
    widths, centres = np.full(rank + 1, spread / 10), np.concatenate([[centre], np.zeros(rank)])
    widths[0] = spread
    steadiness = np.ones(raters)
    for _ in range(steps):
        tastes = _tastes(model, ratings, steadiness)
        if np.isfinite(nu):
            steadiness = _steadiness(model, ratings, tastes)
        model, widths, centres[0] = _items(model, ratings, tastes, steadiness, widths, centres)
    return model


def _items(
    model: ItemModel, ratings: Ratings, tastes: Tastes, steadiness: np.ndarray, widths: np.ndarray, centres: np.ndarray
) -> tuple[ItemModel, np.ndarray, float]:  # fmt: skip
    """The M step: items' means and loadings as a regression on what raters are, noise, and the priors' widths [1 + k] and centre."""
    raters, items, k = len(tastes.mean), len(model.mean), len(widths)
    design = np.concatenate([np.ones((raters, 1)), tastes.mean], 1)
    unsure = np.zeros((raters, k, k))
    unsure[:, 1:, 1:] = tastes.covariance
    weight = steadiness[ratings.rater]
    counts = np.bincount(ratings.item, minlength=items)
    gram = whole(_matrix(ratings, weight, raters, items).T @ (outer_halves(design) + halves(unsure)))
    cross = _matrix(ratings, weight * ratings.value, raters, items).T @ design
    precision = gram + model.noise[:, None, None] * np.diag(1 / np.maximum(widths, 1e-9))
    found = np.linalg.solve(precision, (cross + model.noise[:, None] * centres / np.maximum(widths, 1e-9))[..., None])[..., 0]
    squares = np.bincount(ratings.item, weight * ratings.value**2, items)
    left = squares - 2 * (found * cross).sum(1) + np.einsum("ik,ikl,il->i", found, gram, found)
    noise = (left + FEW * left.sum() / len(ratings)) / (counts + FEW)
    unsure = model.noise[:, None] * np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)
    centre = found[:, 0].mean()
    widths = ((found - np.concatenate([[centre], np.zeros(k - 1)])) ** 2 + unsure).mean(0)
    return ItemModel(found[:, 0], found[:, 1:], np.maximum(noise, 1e-9), model.nu), widths, float(centre)


def log_likelihood(model: ItemModel, tastes: Tastes, ratings: Ratings) -> float:
    """Mean log-density of ratings under the posteriors of their raters, in nats."""
    loading = model.loading[ratings.item]
    variance = model.noise[ratings.item] / tastes.steadiness[ratings.rater]
    variance = variance + np.einsum("nk,nkl,nl->n", loading, tastes.covariance[ratings.rater], loading)
    apart = ratings.value - model.fitted(tastes, ratings)
    return float(-(apart**2 / variance + np.log(2 * np.pi * variance)).mean() / 2)


def shuffled(ratings: Ratings, seed: int) -> Ratings:
    """The control: who rated what is permuted among the raters of each item, so that items keep their ratings and nobody their taste."""
    rng = np.random.default_rng(seed)
    order, permuted = np.argsort(ratings.item, kind="stable"), ratings.rater.copy()
    for rows in np.split(order, np.flatnonzero(np.diff(ratings.item[order])) + 1):
        permuted[rows] = rng.permutation(ratings.rater[rows])
    return Ratings(permuted, ratings.item, ratings.value)
