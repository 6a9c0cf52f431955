"""Raters inferred from what they say: what hangs together across a person's own answers, without comparisons and without gradients.

An answer is a point x in some space of texts (the states in which a language model reads it, say). Answer j of rater r to prompt q is

    x_rj = centre_q + A^+ (h_r + e_rj),    h_r ~ the population,    e_rj ~ N(0, noise)

the random-effects model that speaker recognition calls PLDA (Prince and Elder 2007): the axes A are the directions in which people differ
from one another more than from themselves, in units of how much people differ, and `noise` is what an answer says beside its author.
Covariances between and within people are moments (analysis of variance). How much of them is chance, and how many axes are more than that,
is read on people on whom they were not fitted.

The population is a mixture of Gaussians, fitted to people as far as their answers know them and not to their shrunken means (extreme
deconvolution, Bovy et al. 2011). A rater is then a mixture again, in closed form, after one answer or a hundred; after none, the
population.

Nothing here knows how points are made, and nothing is trained.

Notation: N answers of R raters to P prompts, D dimensions of points, k of taste, C components of the population, U different numbers of
answers that raters gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from raterhf.raters.population import Population

WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)  # principal components among which axes are looked for: chosen on people left out
STEPS, STARTS = 50, 3  # of the mixture's EM
CLIMBED = 1e-3  # nats a person that a step must gain


@dataclass(frozen=True)
class Answers:
    """N answers: `point` [N, D]; whose and to which prompt, `rater` [N] and `prompt` [N], from 0 (prompt -1: one that nobody else
    answered)."""

    point: np.ndarray
    rater: np.ndarray
    prompt: np.ndarray

    def of(self, chosen: np.ndarray) -> "Answers":
        """The answers of the raters for whom `chosen` [R] is True; numbers stay."""
        rows = chosen[self.rater]
        return Answers(self.point[rows], self.rater[rows], self.prompt[rows])


@dataclass(frozen=True)
class AnswerModel:
    """What of a point is its author: `centres` [P + 1, D] of each prompt and, last, of all; `axes` [D, k]; `noise` [k], the variance of
    what one answer says of its author, where people's own is 1."""

    centres: np.ndarray
    axes: np.ndarray
    noise: np.ndarray

    def says(self, answers: Answers) -> np.ndarray:
        """What each answer says of its author [N, k]."""
        return (answers.point - self.centres[answers.prompt]) @ self.axes

    def likeness(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """How much likelier two answers that say this, [M, k] each, are as one person's than as two people's [M], in nats, where the
        population is one Gaussian."""
        single, both = 1 + self.noise, (1 + self.noise) ** 2 - 1
        joint = (single * (a**2 + b**2) - 2 * a * b) / both + np.log(both)
        return (((a**2 + b**2) / single + 2 * np.log(single) - joint) / 2).sum(1)

    def information(self) -> float:
        """Nats that one answer tells of its author, of a population that is one Gaussian."""
        return float(np.log1p(1 / self.noise).sum() / 2)


@dataclass(frozen=True)
class Inferred:
    """Who R raters are: mixtures of `weights` [R, C], `means` [R, C, k], and `factors` [U, C, k, k] of their covariances (Cholesky), which
    `row` [R] names, since they are the same for as many answers. `log_evidence` [R]: of what a rater's answers say in the mean, in nats."""

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    row: np.ndarray
    log_evidence: np.ndarray

    def mean(self) -> np.ndarray:
        """[R, k]."""
        return np.einsum("rc,rck->rk", self.weights, self.means)

    def of(self, rater: int) -> Population:
        """One rater as what can be drawn from."""
        return Population(self.weights[rater], self.means[rater], self.factors[self.row[rater]])

    def draw(self, raters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Who these raters [M], which may repeat, could be: a draw [M, k] of each."""
        edges = self.weights[raters].cumsum(1)
        component = (rng.random((len(raters), 1)) * edges[:, -1:] > edges[:, :-1]).sum(1)
        noise = rng.standard_normal((len(raters), self.means.shape[2]))
        return self.means[raters, component] + np.einsum("mkl,ml->mk", self.factors[self.row[raters], component], noise)


def infer_answers(model: AnswerModel, prior: Population, answers: Answers, raters: int) -> Inferred:
    """The posteriors of `raters` raters under a population; of one without answers the population itself."""
    return _posteriors(prior, *_means(model.says(answers), answers.rater, raters), model.noise)


def _means(says: np.ndarray, rater: np.ndarray, raters: int) -> tuple[np.ndarray, np.ndarray]:
    """How many answers each rater gave [R], and what they say in the mean [R, k], zeros without any."""
    count = np.bincount(rater, minlength=raters)
    total = np.zeros((raters, says.shape[1]))
    np.add.at(total, rater, says)
    return count, total / np.maximum(count, 1)[:, None]


def _posteriors(prior: Population, count: np.ndarray, mean: np.ndarray, noise: np.ndarray) -> Inferred:
    raters, k = mean.shape
    different, row = np.unique(count, return_inverse=True)
    components = len(prior.weights)
    factors = np.zeros((len(different), components, k, k))
    means, logs = np.zeros((raters, components, k)), np.zeros((raters, components))
    log_weights = np.log(prior.weights / prior.weights.sum())
    for u, n in enumerate(different):
        rows = row == u
        for c, (centre, factor) in enumerate(zip(prior.means, prior.factors)):
            if n == 0:
                factors[u, c], means[rows, c], logs[rows, c] = factor, centre, log_weights[c]
                continue
            spread = factor @ factor.T
            total = np.linalg.cholesky(spread + np.diag(noise / n))
            told = np.linalg.solve(total, spread)  # [k, k]
            apart = np.linalg.solve(total, (mean[rows] - centre).T)  # [k, rows]
            means[rows, c] = centre + apart.T @ told
            left = spread - told.T @ told
            factors[u, c] = np.linalg.cholesky((left + left.T) / 2 + 1e-9 * np.eye(k))
            logs[rows, c] = log_weights[c] - (apart**2).sum(0) / 2 - np.log(np.diag(total)).sum() - k * np.log(2 * np.pi) / 2
    evidence = logsumexp(logs, 1)
    return Inferred(np.exp(logs - evidence[:, None]), means, factors, row, np.where(count > 0, evidence, 0.0))


def fit_crowd(
    model: AnswerModel, answers: Answers, raters: np.ndarray, components: Sequence[int], seed: int
) -> tuple[Population, list[dict[str, float]]]:  # fmt: skip
    """The population of these `raters` (those for whom [R] is True), and for each number of components how likely it makes, in nats a
    person, the half of them that it was not fitted to; the best first."""
    count, mean = _means(model.says(answers), answers.rater, len(raters))
    chosen = np.flatnonzero(raters & (count > 0))
    count, mean = count[chosen], mean[chosen]
    half = np.random.default_rng(seed).permutation(len(chosen)) % 2 == 0
    trials = []
    for size in sorted({size for size in components if size == 1 or 4 * size <= len(chosen)} or {1}):
        values = []
        for side in (half, ~half):
            fitted = _mixture(count[side], mean[side], model.noise, size, seed)
            values.append(_posteriors(fitted, count[~side], mean[~side], model.noise).log_evidence.mean() if (~side).any() else 0.0)
        trials.append({"components": size, "log_likelihood": float(np.mean(values))})
    trials.sort(key=lambda trial: -trial["log_likelihood"])
    return _mixture(count, mean, model.noise, int(trials[0]["components"]), seed), trials


def in_units(model: AnswerModel, population: Population) -> tuple[AnswerModel, Population]:
    """Both on axes on which this population's variance is 1."""
    unit = np.sqrt(np.diag(population.covariance()))
    scaled = Population(population.weights, population.means / unit, population.factors / unit[:, None])
    return AnswerModel(model.centres, model.axes / unit, model.noise / unit**2), scaled


def _mixture(count: np.ndarray, mean: np.ndarray, noise: np.ndarray, components: int, seed: int) -> Population:
    """EM on people known as far as their answers tell. Covariances have a prior worth k people: of everybody's, and everybody's of 1."""
    k = mean.shape[1]
    whole = Population(np.ones(1), mean.mean(0, keepdims=True) if len(mean) else np.zeros((1, k)), np.eye(k)[None])
    whole = _climb(whole, count, mean, noise, np.eye(k))
    if components == 1:
        return whole
    rng = np.random.default_rng(np.random.SeedSequence([seed, components]))
    shrunken, usual = _posteriors(whole, count, mean, noise).mean(), whole.factors[0] @ whole.factors[0].T
    found = []
    for _ in range(STARTS):
        starts = shrunken[_far_apart(shrunken, components, rng)]
        begun = Population(np.full(components, 1 / components), starts, np.repeat(whole.factors / 2, components, 0))
        climbed = _climb(begun, count, mean, noise, usual)
        found.append((_posteriors(climbed, count, mean, noise).log_evidence.mean(), climbed))
    return max(found, key=lambda one: one[0])[1]


def _climb(population: Population, count: np.ndarray, mean: np.ndarray, noise: np.ndarray, usual: np.ndarray) -> Population:
    """EM steps. `usual` [k, k] is the covariance expected beforehand."""
    k, before = mean.shape[1], -np.inf
    for _ in range(STEPS if len(mean) else 0):
        found = _posteriors(population, count, mean, noise)
        if found.log_evidence.mean() < before + CLIMBED:
            break
        before = found.log_evidence.mean()
        mass = found.weights.sum(0)
        centres = np.einsum("rc,rck->ck", found.weights, found.means) / np.maximum(mass, 1e-9)[:, None]
        apart = found.means - centres
        between = np.stack([(weight[:, None] * one).T @ one for weight, one in zip(found.weights.T, apart.transpose(1, 0, 2))])
        members = np.stack([found.weights[found.row == u].sum(0) for u in range(len(found.factors))])  # [U, C]
        left = np.einsum("uc,uckl,ucml->ckm", members, found.factors, found.factors)
        covariances = (between + left + k * usual) / (mass + k)[:, None, None]
        weights = (mass + 1) / (mass + 1).sum()
        population = Population(weights, centres, np.linalg.cholesky(covariances))
    return population


def _far_apart(points: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """Some of the points, each drawn by its squared distance from those before it (k-means++)."""
    chosen = [int(rng.integers(len(points)))]
    for _ in range(count - 1):
        near = ((points[:, None] - points[chosen]) ** 2).sum(2).min(1)
        chosen.append(int(rng.choice(len(points), p=near / near.sum())) if near.sum() > 0 else int(rng.integers(len(points))))
    return chosen


def fit_answers(answers: Answers, raters: int, most: int, seed: int) -> tuple[AnswerModel, list[dict[str, float]]]:
    """The model of the answers of `raters` raters, of `most` axes at most; and what was tried, the best first: `width` (principal
    components looked at), `dim` (axes kept) and `gain`, how much likelier the answers of people left out are as theirs than as anybody's,
    in nats a person less what so many axes would gain by chance.

    Half the people tell in which directions people differ, the other half by how much, and the other way round.
    """
    half = np.random.default_rng(seed).permutation(raters) % 2 == 0
    trials, spreads = [], {}
    for width in _widths(answers, raters):
        each = [_checked(answers.of(side), answers.of(~side), most, width) for side in (half, ~half)]
        between, within, gain = (np.mean(part, 0) for part in zip(*each))
        gained = np.concatenate([[0.0], gain.cumsum()])
        dim = int(gained.argmax())
        trials.append({"width": width, "dim": dim, "gain": float(gained[dim])})
        spreads[width] = between, within
    trials.sort(key=lambda trial: -trial["gain"])
    width, dim = int(trials[0]["width"]), max(1, int(trials[0]["dim"]))
    centres = _centres(answers)
    axes = _axes(answers, centres, most, width)[:, :dim]
    between, within = (part[:dim] for part in spreads[width])
    between = np.maximum(between, 1e-6 * within)  # nothing hangs together: an answer says nothing of its author
    return AnswerModel(centres, axes / np.sqrt(between), within / between), trials


def _widths(answers: Answers, raters: int) -> list[int]:
    """Those that half the people can tell something of."""
    most = min(answers.point.shape[1], max(WIDTHS[0], (len(answers.point) - raters) // 2))
    return [width for width in WIDTHS if width <= most] or [most]


def _centres(answers: Answers) -> np.ndarray:
    """[P + 1, D]: a prompt's mean, of few answers drawn to that of all (as if one more answer lay there), which stands last."""
    whole = answers.point.mean(0)
    prompts = int(answers.prompt.max(initial=-1)) + 1
    count, total = np.bincount(answers.prompt, minlength=prompts), np.zeros((prompts, len(whole)))
    np.add.at(total, answers.prompt, answers.point - whole)
    return np.concatenate([whole + total / (count + 1)[:, None], whole[None]])


def _axes(answers: Answers, centres: np.ndarray, most: int, width: int) -> np.ndarray:
    """Axes [D, at most `most`] by how much people differ on them, for what they vary within people, which is 1 on each."""
    apart = answers.point - centres[answers.prompt]
    variances, main = np.linalg.eigh(apart.T @ apart / len(apart))
    main = main[:, ::-1][:, :width] / np.sqrt(np.maximum(variances[::-1][:width], 1e-9 * variances[-1] + 1e-30))
    between, within = _variance(apart @ main, answers.rater)
    freedom = len(apart) - len(np.unique(answers.rater))
    chance = width / (width + max(1, freedom))
    within = (1 - chance) * within + chance * np.diag(np.diag(within) + 1e-3)
    root = np.linalg.inv(np.linalg.cholesky(within)).T
    ratios, turned = np.linalg.eigh(root.T @ between @ root)
    return main @ root @ turned[:, ::-1][:, :most]


def _variance(values: np.ndarray, rater: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariances [k, k] between and within people by analysis of variance, unbiased, from values [N, k]; the first may have negative
    eigenvalues."""
    people = np.unique(rater, return_inverse=True)[1]
    count, mean = _means(values, people, people.max(initial=-1) + 1)
    apart = values - mean[people]
    within = apart.T @ apart / max(1, len(values) - len(count))
    whole = values - values.mean(0)
    total = whole.T @ whole / max(1, len(values))
    size = (len(values) - (count**2).sum() / len(values)) / max(1, len(count) - 1)
    mean = mean - values.mean(0)
    among = (mean * count[:, None]).T @ mean / max(1, len(count) - 1)
    return ((among - within) / size if len(values) > len(count) else total), within


def _checked(fitted: Answers, other: Answers, most: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of axes fitted to some people, on others: variance between and within [k], and what each axis gains in nats a person [k]."""
    centres = _centres(fitted)
    says = (other.point - centres[other.prompt]) @ _axes(fitted, centres, most, width)
    between, within = (np.diag(part) for part in _variance(says, other.rater))
    people = np.unique(other.rater, return_inverse=True)[1]
    gain = np.where(between > 0, _gain(says, people, np.maximum(between, 1e-9), np.maximum(within, 1e-9)), -1.0)
    padding = (0, most - len(gain))
    return np.pad(between, padding), np.pad(within, padding, constant_values=1.0), np.pad(gain, padding, constant_values=-1.0)


def _gain(says: np.ndarray, people: np.ndarray, between: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Nats a person [k] by which values are likelier as several of each person's than each as somebody else's, less one parameter's
    chance."""
    count = np.bincount(people)[:, None]
    says = says - says.mean(0)
    total, squares = np.zeros((len(count), says.shape[1])), np.zeros((len(count), says.shape[1]))
    np.add.at(total, people, says)
    np.add.at(squares, people, says**2)
    spread = within + count * between
    together = squares / within - between * total**2 / (within * spread) + (count - 1) * np.log(within) + np.log(spread)
    apart = squares / (within + between) + count * np.log(within + between)
    return (apart - together).mean(0) / 2 - 1 / len(count)
