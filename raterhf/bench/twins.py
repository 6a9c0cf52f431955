"""Labels of people drawn from a population, for just the things that somebody judged: ratings, comparisons, and answers of two kinds."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from raterhf.bench.comparisons import PRECISIONS, tell_pairs
from raterhf.evaluation import metrics
from raterhf.log import log
from raterhf.raters.items import ItemModel, Ratings
from raterhf.raters.pairs import Comparisons, PairModel, fit_pairs, infer_people

STEPS = 12  # of a trial's fit
BINARY_TASTES, BINARY_PRECISIONS = 16, (2.5, 10.0, 40.0)  # of answers of two kinds, which are more of a person than comparisons


def drawn_ratings(model: ItemModel, asked: Ratings, people: int, grid: np.ndarray, rng: np.random.Generator) -> Ratings:
    """What people drawn from the population would rate the same things, to the nearest of the values [G] that ratings have."""
    taste = rng.standard_normal((people, model.loading.shape[1]))
    steady = rng.gamma(model.nu / 2, 2 / model.nu, people) if np.isfinite(model.nu) else np.ones(people)
    value = model.mean[asked.item] + (model.loading[asked.item] * taste[asked.rater]).sum(1)
    value = value + np.sqrt(model.noise[asked.item] / steady[asked.rater]) * rng.standard_normal(len(asked))
    above = np.clip(np.searchsorted(grid, value), 1, len(grid) - 1) if len(grid) > 1 else np.zeros(len(value), np.int64)
    nearest = np.where(value - grid[above - 1] < grid[above] - value, above - 1, above)
    return Ratings(asked.rater, asked.item, grid[nearest])


def drawn_comparisons(model: PairModel, asked: Comparisons, people: int, rng: np.random.Generator) -> Comparisons:
    """What people drawn from the population would prefer of the same pairs."""
    numbers = model.mean + rng.standard_normal((people, len(model.mean))) @ np.linalg.cholesky(model.covariance).T
    chance = expit((model.design(asked) * numbers[asked.rater]).sum(1))
    return replace(asked, won=(rng.random(len(asked)) < chance).astype(float))


def against_threshold(ratings: Ratings, items: int) -> Comparisons:
    """Answers of two kinds as comparisons of each thing with a threshold, which is one more item: what a rater likes is above theirs."""
    above = (ratings.value == ratings.value.max()).astype(float)
    return Comparisons(ratings.rater, ratings.item, np.full(len(ratings), items), above, np.zeros((len(ratings), 0)))


def of_two_answers(
    train: Ratings, mixed: Ratings, part: Ratings, held: Ratings, new: Ratings, sizes: tuple[int, int, int], rng: np.random.Generator,
    seed: int,
) -> list[Ratings]:  # fmt: skip
    """What people who are drawn answer where there are two answers, which are no numbers with Gaussian noise: by the model of comparisons,
    without tastes, and of labels whose IDs are `mixed`. Raters' thresholds and care are drawn with the person. `sizes` are how many raters,
    items and people there are."""
    raters, items, people = sizes
    told = [against_threshold(ratings, items) for ratings in (train, mixed, part, held, new)]
    precision = best_precision(told[2], told[3], raters, items + 1, BINARY_TASTES, BINARY_PRECISIONS, seed)
    models = [fit_pairs(rows, raters, items + 1, BINARY_TASTES, precision, seed=seed) for rows in told[:2]]
    models.insert(1, fit_pairs(told[0], raters, items + 1, 0, PRECISIONS[0], False, seed=seed))
    low, high = np.unique(train.value)
    answers = (drawn_comparisons(one, told[4], people, rng).won for one in models)
    return [Ratings(new.rater, new.item, np.where(won == 1, high, low)) for won in answers]


def best_precision(
    part: Comparisons, held: Comparisons, raters: int, items: int, tastes: int, precisions: tuple[float, ...], seed: int
) -> float:  # fmt: skip
    """The precision of the loadings under which comparisons kept back cost least."""
    trials = {}
    for precision in precisions:
        model = fit_pairs(part, raters, items, tastes, precision, True, STEPS, seed)
        told = tell_pairs(model, infer_people(model, part, raters), held)
        trials[precision] = -metrics.nll(told.margin, np.ones(len(told.margin), np.int64))
        log.info(f"  precision {precision:g} of the loadings: {trials[precision]:.4f} nats a pair of comparisons kept back of train")
    return max(trials, key=lambda precision: trials[precision])
