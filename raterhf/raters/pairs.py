"""Items and raters from comparisons, without text: what everybody values, how carefully each rater looks, their habits, and their tastes.

Rater r prefers a to b with log-odds of the margin

    first_r + care_r (u_a - u_b) + taste_r . (l_a - l_b) + habit_r . x,

u and l being items' common worth and loadings, x what else the two sides differ by (their length). `first` is a habit of preferring what
stands first, `care` scales what everybody values: a careless rater is near 0 there and is no rare taste. All of a rater's numbers are
unknowns with one normal prior, the population, whose mean and covariance are learned; tastes are standard normal in it. Ties count as half
a win of each side.

EM, with the Polya-Gamma bound on the logistic function (Jaakkola and Jordan 2000): raters' posteriors are Gaussian in closed form, and so
are the items' worths, one dimension after the other. Worths and loadings have normal priors; that of the worths is learned, that of the
loadings is given, since learned it goes to nothing where items have few labels each. The bound leaves posteriors too narrow: this is for
telling choices, intervals of people are `inference.infer`'s.

Notation: R raters, I items, N comparisons, k tastes, h habits, d = 2 + k + h numbers of a rater.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

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
    """The posteriors of raters under a model; one without comparisons is the population."""
    return _infer(model, rows, raters, np.full(len(rows), 0.2), rounds)[0]


def margins(model: PairModel, people: People, rows: Comparisons) -> np.ndarray:
    """Log-odds [N] that a is preferred, what is unsure of the rater averaged out (MacKay's approximation)."""
    design = model.design(rows)
    mean = (design * people.mean[rows.rater]).sum(1)
    return mean / np.sqrt(1 + np.pi / 8 * _variance(design, people, rows.rater))


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
    people, weight = _infer(model, rows, raters, np.full(len(rows), 0.2), 3)
    for _ in range(steps):
        model, precisions[0] = _items(model, people, rows, weight, precisions, blocks)
        people, weight = _infer(model, rows, raters, weight, 2)
        model = _population(model, people, care, taste)
        people = replace(people, mean=people.mean / _unit(people), covariance=people.covariance / np.outer(_unit(people), _unit(people)))
    return model


def _unit(people: People) -> np.ndarray:
    """By what each number [d] is divided so that care is 1 on average; worths are multiplied by it."""
    unit = np.ones(people.mean.shape[1])
    unit[1] = people.mean[:, 1].mean()
    return unit


def _infer(model: PairModel, rows: Comparisons, raters: int, weight: np.ndarray, rounds: int) -> tuple[People, np.ndarray]:
    """Posteriors, and the bound's weight [N] of each comparison, which both get better with every round."""
    design, d = model.design(rows), len(model.mean)
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(rows), d * d)
    by_rater = csr_matrix((np.ones(len(rows)), (rows.rater, np.arange(len(rows)))), shape=(raters, len(rows)))
    prior = np.linalg.inv(model.covariance)
    told = by_rater @ ((rows.won - 0.5)[:, None] * design) + prior @ model.mean
    for _ in range(rounds):
        covariance = np.linalg.inv((by_rater @ (weight[:, None] * squares)).reshape(raters, d, d) + prior)
        people = People(np.einsum("rkl,rl->rk", covariance, told), covariance)
        at = np.sqrt((design * people.mean[rows.rater]).sum(1) ** 2 + _variance(design, people, rows.rater))
        at = np.maximum(at, 1e-4)
        weight = np.tanh(at / 2) / (2 * at)
    return people, weight


def _variance(design: np.ndarray, people: People, rater: np.ndarray) -> np.ndarray:
    return (np.matmul(design[:, None], people.covariance[rater])[:, 0] * design).sum(1)


def _blocks(rows: Comparisons, items: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Items that comparisons connect (a topic's), each with the rows of their comparisons."""
    count, block = connected_components(csr_matrix((np.ones(len(rows)), (rows.a, rows.b)), shape=(items, items)), directed=False)
    order, by_row = np.argsort(block, kind="stable"), np.argsort(block[rows.a], kind="stable")
    cuts = np.arange(1, count)
    members = np.split(order, np.searchsorted(block[order], cuts))
    return list(zip(members, np.split(by_row, np.searchsorted(block[rows.a][by_row], cuts))))


def _items(
    model: PairModel, people: People, rows: Comparisons, weight: np.ndarray, precisions: np.ndarray, blocks: list
) -> tuple[PairModel, float]:  # fmt: skip
    """Worths given the raters' posteriors, one dimension after the other, and the precision of the common worth's prior."""
    worth, common = model.worth.copy(), precisions[0]
    within = np.zeros(len(worth), np.int64)
    for members, _ in blocks:
        within[members] = np.arange(len(members))
    for j in range(worth.shape[1]):
        design = replace(model, worth=worth).design(rows)
        mean = people.mean[rows.rater, 1 + j]
        moments = people.mean[rows.rater] * mean[:, None] + people.covariance[rows.rater, 1 + j]
        others = (moments * design).sum(1) - moments[:, 1 + j] * design[:, 1 + j]
        curved, pull, squares = weight * moments[:, 1 + j], (rows.won - 0.5) * mean - weight * others, 0.0
        for members, own in blocks:
            n, a, b = len(members), within[rows.a[own]], within[rows.b[own]]
            gram = precisions[j] * np.eye(n)
            for x, y, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
                np.add.at(gram, (x, y), sign * curved[own])
            covariance = np.linalg.inv(gram)
            worth[members, j] = covariance @ (np.bincount(a, pull[own], n) - np.bincount(b, pull[own], n))
            squares += (worth[members, j] ** 2).sum() + np.trace(covariance)
        if j == 0:
            common = len(worth) / squares
    return replace(model, worth=worth), common


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
