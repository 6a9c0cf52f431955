"""Items and raters from comparisons, without text: what everybody values, how carefully each rater looks, their habits, and their tastes.

Rater r prefers a to b with log-odds of the margin

    first_r + care_r (u_a - u_b) + taste_r . (l_a - l_b) + habit_r . x,

u and l being items' common worth and loadings, x what else the two sides differ by (their length). `first` is a habit of preferring what
stands first, `care` scales what everybody values: a careless rater is near 0 there and is no rare taste. All of a rater's numbers are
unknowns with one normal prior, the population, whose mean and covariance are learned; tastes are standard normal in it. Ties count as half
a win of each side.

EM, with the Polya-Gamma bound on the logistic function (Jaakkola and Jordan 2000): raters' posteriors are Gaussian in closed form, and so
are the items' worths, one dimension after the other. Worths and loadings have normal priors; that of the worths is learned, that of the
loadings is given, since learned it goes to nothing where items have few labels each. The bound leaves posteriors too narrow, so what is
inferred of people starts from it and ends where slope and curvature are means over the posterior (Opper and Archambeau 2009).

Notation: R raters, I items, N comparisons, k tastes, h habits, d = 2 + k + h numbers of a rater.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from raterhf.raters.symmetric import halves, inner_weights, outer_halves, whole

ROUNDS = 4  # from the bound's posterior to that of the least divergence
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
START = 0.1  # variance of what raters differ by, at first
LEAST = 1e-6  # and at last


@dataclass(frozen=True)
class Comparisons:
    """N comparisons: `rater`, `a`, `b` [N] from 0, `won` [N] 1 (a), 0 (b) or .5 (a tie), `apart` [N, h] what else the sides differ by."""

    rater: np.ndarray
    a: np.ndarray
    b: np.ndarray
    won: np.ndarray
    apart: np.ndarray

    def __len__(self) -> int:
        return len(self.rater)

    def rows(self, index: np.ndarray) -> "Comparisons":
        return Comparisons(self.rater[index], self.a[index], self.b[index], self.won[index], self.apart[index])


@dataclass(frozen=True)
class PairModel:
    """`worth` [I, 1 + k] (common worth, loadings), and the population's `mean` [d] and `covariance` [d, d]."""

    worth: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def design(self, rows: Comparisons) -> np.ndarray:
        """What each of a rater's numbers is multiplied by [N, d]."""
        return np.concatenate([np.ones((len(rows), 1)), self.worth[rows.a] - self.worth[rows.b], rows.apart], 1)


@dataclass(frozen=True)
class People:
    """Posteriors of R raters: `mean` [R, d], `covariance` [R, d, d]."""

    mean: np.ndarray
    covariance: np.ndarray


def infer_people(model: PairModel, rows: Comparisons, raters: int, rounds: int = 8) -> People:
    """The posteriors of raters under a model, of which 90 % intervals hold 90 %; one without comparisons is the population."""
    told = _Told(model, rows, raters)
    people, _ = _infer(told, np.full(len(rows), 0.2), rounds)
    for _ in range(ROUNDS):
        people = told.averaged(people)
    return people


def margins(model: PairModel, people: People, rows: Comparisons) -> np.ndarray:
    """Log-odds [N] that a is preferred, what is unsure of the rater averaged out (MacKay's approximation)."""
    design = model.design(rows)
    mean = (design * people.mean[rows.rater]).sum(1)
    return mean / np.sqrt(1 + np.pi / 8 * _variance(design, people, rows.rater))


def kept_apart(rows: Comparisons, items: int, share: float, seed: int, whole: bool = False) -> tuple[Comparisons, Comparisons]:
    """Comparisons to fit and to choose settings by, for which a `share` of what each rater compared is kept back.

    The two have no item of a rater in common: pairs of the same votes would tell each other. With `whole` an item that a rater compared
    once goes where the other side goes, so that more of few comparisons are kept back, and fewer are in neither part.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6B657074]))
    key, place = np.unique(np.concatenate([rows.rater * items + rows.a, rows.rater * items + rows.b]), return_inverse=True)
    back = (rng.random(len(key)) < share)[place].reshape(2, -1)
    if whole:
        alone = (np.bincount(place) == 1)[place].reshape(2, -1)
        back = np.stack([np.where(alone[0], back[1], back[0]), np.where(alone[1] & ~alone[0], back[0], back[1])])
    return rows.rows(np.flatnonzero(~back.any(0))), rows.rows(np.flatnonzero(back.all(0)))


def fit_pairs(
    rows: Comparisons, raters: int, items: int, tastes: int = 0, precision: float = 40.0, care: bool = True, steps: int = 25, seed: int = 0
) -> PairModel:  # fmt: skip
    """EM from random loadings. `precision` is that of the loadings' prior; without `care` everybody is equally careful."""
    rng = np.random.default_rng(seed)
    d = 2 + tastes + rows.apart.shape[1]
    taste = np.arange(2, 2 + tastes)
    worth = np.concatenate([np.zeros((items, 1)), 0.3 * rng.standard_normal((items, tastes))], 1)
    variance = np.full(d, START)
    variance[taste] = 1
    variance[1] = START if care else LEAST
    model = PairModel(worth, np.eye(d)[1], np.diag(variance))
    precisions = np.array([1.0] + [precision] * tastes)
    blocks = _blocks(rows, items)
    people, weight = _infer(_Told(model, rows, raters), np.full(len(rows), 0.2), 3)
    for _ in range(steps):
        model, precisions[0] = _items(model, people, rows, weight, precisions, blocks)
        people, weight = _infer(_Told(model, rows, raters), weight, 2)
        model = _population(model, people, care, taste)
        people = replace(people, mean=people.mean / _unit(people), covariance=people.covariance / np.outer(_unit(people), _unit(people)))
    return model


def _unit(people: People) -> np.ndarray:
    """By what each number [d] is divided so that care is 1 on average; worths are multiplied by it."""
    unit = np.ones(people.mean.shape[1])
    unit[1] = people.mean[:, 1].mean()
    return unit


class _Told:
    """What comparisons tell of raters under a model, whatever is known of these yet."""

    def __init__(self, model: PairModel, rows: Comparisons, raters: int):
        self.model, self.rows = model, rows
        self.design = model.design(rows)
        self.squares = outer_halves(self.design)
        self.by_rater = csr_matrix((np.ones(len(rows)), (rows.rater, np.arange(len(rows)))), shape=(raters, len(rows)))
        self.prior = np.linalg.inv(model.covariance)

    def covariance(self, weight: np.ndarray) -> np.ndarray:
        """[R, d, d], each comparison being as telling as its weight [N]."""
        weighted = csr_matrix((weight[self.by_rater.indices], self.by_rater.indices, self.by_rater.indptr), self.by_rater.shape)
        return np.linalg.inv(whole(weighted @ self.squares) + self.prior)

    def variance(self, people: People) -> np.ndarray:
        """Of the margins [N], by what is unsure of raters."""
        unsure = halves(people.covariance) * inner_weights(len(self.model.mean))
        return np.einsum("nt,nt->n", self.squares, unsure[self.rows.rater])

    def averaged(self, people: People) -> People:
        """A Newton step with slope and curvature of the log posterior averaged over these posteriors."""
        mean = (self.design * people.mean[self.rows.rater]).sum(1)
        at = expit(mean + NODES[:, None] * np.sqrt(self.variance(people)))
        covariance = self.covariance(NODE_WEIGHTS @ (at * (1 - at)))
        slope = self.by_rater @ ((self.rows.won - NODE_WEIGHTS @ at)[:, None] * self.design) - (people.mean - self.model.mean) @ self.prior
        return People(people.mean + np.einsum("rkl,rl->rk", covariance, slope), covariance)


def _infer(told: _Told, weight: np.ndarray, rounds: int) -> tuple[People, np.ndarray]:
    """Posteriors by the bound, and its weight [N] of each comparison, which both get better with every round."""
    design, rater = told.design, told.rows.rater
    pull = told.by_rater @ ((told.rows.won - 0.5)[:, None] * design) + told.prior @ told.model.mean
    for _ in range(rounds):
        covariance = told.covariance(weight)
        people = People(np.einsum("rkl,rl->rk", covariance, pull), covariance)
        at = np.sqrt((design * people.mean[rater]).sum(1) ** 2 + told.variance(people))
        at = np.maximum(at, 1e-4)
        weight = np.tanh(at / 2) / (2 * at)
    return people, weight


def _variance(design: np.ndarray, people: People, rater: np.ndarray) -> np.ndarray:
    return (np.matmul(design[:, None], people.covariance[rater])[:, 0] * design).sum(1)


@dataclass(frozen=True)
class _Blocks:
    """B connected components of n items each: `items` [B, n], the comparisons `rows` [M] in them, and where their sides are, a and b, in
    the flat items [M] of these blocks."""

    items: np.ndarray
    rows: np.ndarray
    a: np.ndarray
    b: np.ndarray


def _blocks(rows: Comparisons, items: int) -> list[_Blocks]:
    """Items that comparisons connect (a topic's), those of one size together: there may be a block for every prompt."""
    count, block = connected_components(csr_matrix((np.ones(len(rows)), (rows.a, rows.b)), shape=(items, items)), directed=False)
    sizes, order = np.bincount(block, minlength=count), np.argsort(block, kind="stable")
    place = np.empty(items, np.int64)
    place[order] = np.arange(items) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = []
    for size in np.unique(sizes):
        slot = np.cumsum(sizes == size) - 1  # of each block of this size
        own = np.flatnonzero(sizes[block[rows.a]] == size)
        flat = [slot[block[side[own]]] * size + place[side[own]] for side in (rows.a, rows.b)]
        found.append(_Blocks(order[sizes[block[order]] == size].reshape(-1, size), own, *flat))
    return found


def _items(
    model: PairModel, people: People, rows: Comparisons, weight: np.ndarray, precisions: np.ndarray, blocks: list[_Blocks]
) -> tuple[PairModel, float]:  # fmt: skip
    """Worths given the raters' posteriors, one dimension after the other, and the precision of the common worth's prior."""
    worth, common, design = model.worth.copy(), precisions[0], model.design(rows)
    means, covariances = people.mean[rows.rater], people.covariance[:, 1 : 1 + worth.shape[1]].transpose(1, 0, 2)
    for j in range(worth.shape[1]):
        mean = means[:, 1 + j]
        moments = means * mean[:, None] + covariances[j][rows.rater]
        others = (moments * design).sum(1) - moments[:, 1 + j] * design[:, 1 + j]
        curved, pull, squares = weight * moments[:, 1 + j], (rows.won - 0.5) * mean - weight * others, 0.0
        for block in blocks:
            count, n = block.items.shape
            gram = _gram(block, curved[block.rows]) + precisions[j] * np.eye(n)
            pulled = np.bincount(block.a, pull[block.rows], count * n) - np.bincount(block.b, pull[block.rows], count * n)
            if j == 0:  # whose prior is learned by how sure it is, too
                covariance = np.linalg.inv(gram)
                found = np.einsum("bkl,bl->bk", covariance, pulled.reshape(count, n))
                squares += (found**2).sum() + np.trace(covariance, axis1=1, axis2=2).sum()
            else:
                found = np.linalg.solve(gram, pulled.reshape(count, n, 1))[..., 0]
            worth[block.items, j] = found
        design[:, 1 + j] = worth[rows.a, j] - worth[rows.b, j]
        if j == 0:
            common = len(worth) / squares
    return replace(model, worth=worth), common


def _gram(block: _Blocks, curved: np.ndarray) -> np.ndarray:
    """Sums [B, n, n] over comparisons of `curved` [M] times (a - b)(a - b)'."""
    count, n = block.items.shape
    a, b = block.a, block.b
    flat = [x * n + y % n for x, y in ((a, a), (b, b), (a, b), (b, a))]
    signed = np.concatenate([curved, curved, -curved, -curved])
    return np.bincount(np.concatenate(flat), signed, count * n * n).reshape(count, n, n)


def _population(model: PairModel, people: People, care: bool, taste: np.ndarray) -> PairModel:
    """Mean and variances of the raters, in units in which care is 1 on average and tastes are standard normal."""
    unit = _unit(people)
    mean = people.mean.mean(0) / unit
    mean[taste] = 0
    variance = ((people.mean / unit - mean) ** 2).mean(0) + np.diagonal(people.covariance, axis1=1, axis2=2).mean(0) / unit**2
    variance = np.maximum(variance, LEAST)
    variance[taste] = 1
    if not care:
        variance[1] = LEAST
    worth = model.worth.copy()
    worth[:, 0] *= unit[1]
    return PairModel(worth, mean, np.diag(variance))
