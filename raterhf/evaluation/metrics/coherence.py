"""Coherence figures: is one rater one person?

Notation: R raters, Q questions, D draws. `answers` [R, Q] are class indices, -1 invalid, one row for each
fresh rater; `repeats` [R, Q, D] are draws of the same R raters. The target is always the value of fresh real
raters, not the maximum: a stereotype overshoots. Figures of pairs of questions come as [Q, Q] matrices with
nan on the diagonal; `mean_over_pairs` averages them, also for a bootstrap's resampled questions, where a
question paired with itself must not count. Mutual information depends on the number of raters beyond what its
permuted mean removes, so compare as many fictitious raters as real ones.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.special import xlogy
from sklearn.metrics.cluster import expected_mutual_information

from raterhf.evaluation.metrics.marginal import checked_distribution, tv_floor


def mean_over_pairs(matrix: np.ndarray, questions: np.ndarray | None = None) -> float:
    """Mean of a symmetric [Q, Q] matrix over pairs of different questions; nan when there is none.

    `questions`: only pairs of these (indices, which may repeat in a bootstrap and then count as often).
    """
    questions = np.arange(len(matrix)) if questions is None else np.asarray(questions)
    i, j = np.triu_indices(len(questions), 1)
    i, j = questions[i], questions[j]
    different = i != j
    return float(matrix[i[different], j[different]].mean()) if different.any() else float("nan")


def _pair_matrix(n_questions: int, values: Sequence[float]) -> np.ndarray:
    """Values in the order of `combinations(range(Q), 2)` as a symmetric matrix, nan on the diagonal."""
    matrix = np.full((n_questions, n_questions), np.nan)
    for (i, j), value in zip(combinations(range(n_questions), 2), values, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix


def one_hot(answers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Answers as float32 [R, sum of widths], what is invalid as each question's last class; `widths` [Q] count it.

    A product of two of these holds the tables of all pairs of questions at once.
    """
    return np.concatenate([np.eye(k, dtype=np.float32)[column] for column, k in zip(np.transpose(answers), widths, strict=True)], 1)


def widths_of(*answers: np.ndarray) -> np.ndarray:
    """How many classes [Q] questions have in these answers, one more for what is invalid."""
    return np.max([np.max(a, axis=0, initial=0) for a in answers], axis=0) + 2


def starts_of(widths: np.ndarray) -> np.ndarray:
    """Where each question's classes begin in `one_hot` [Q]."""
    return np.cumsum([0, *widths[:-1]])


def information(hot: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Mutual information [Q, Q] in nats between questions, chance left in, of `one_hot` answers.

    Each pair uses the raters with valid answers to both; it is 0 when there is none. Entropies on the diagonal.
    """
    kept = np.delete(np.arange(hot.shape[1]), np.cumsum(widths) - 1)
    starts = starts_of(np.asarray(widths) - 1)
    table = (hot.T @ hot)[np.ix_(kept, kept)].astype(np.float64)
    margins = np.add.reduceat(table, starts, 1)
    total = np.add.reduceat(margins, starts, 0)
    both = np.add.reduceat(np.add.reduceat(xlogy(table, table), starts, 0), starts, 1)
    one = np.add.reduceat(xlogy(margins, margins), starts, 0)
    return (both - one - one.T + xlogy(total, total)) / np.maximum(total, 1)


def expected_information(answers: np.ndarray) -> np.ndarray:
    """The mean of `information` over permuted raters [Q, Q]: exact (the hypergeometric sum of Vinh, Epps and Bailey 2010)."""
    columns = np.asarray(answers).T
    return _pair_matrix(len(columns), [_expected(a, b) for a, b in combinations(columns, 2)])


def _expected(a: np.ndarray, b: np.ndarray) -> float:
    valid = (a >= 0) & (b >= 0)
    if not valid.any():
        return 0.0
    _, a = np.unique(a[valid], return_inverse=True)
    _, b = np.unique(b[valid], return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1), dtype=np.int64)
    np.add.at(table, (a, b), 1)
    return float(expected_mutual_information(table, a.size))


def mutual_information(answers: np.ndarray) -> np.ndarray:
    """Mutual information in nats between every two questions, minus its mean over permuted raters. [Q, Q]."""
    widths = widths_of(answers)
    return information(one_hot(answers, widths), widths) - expected_information(answers)


def mi_ratio(answers: np.ndarray, real_answers: np.ndarray, questions: np.ndarray | None = None) -> float:
    """Mean mutual information of pairs over that of fresh real raters: 0 ID ignored, > 1 a stereotype.

    `questions` as in `mean_over_pairs`. nan when real raters show none: there is nothing to compare with.
    """
    real = mean_over_pairs(mutual_information(real_answers), questions)
    return mean_over_pairs(mutual_information(answers), questions) / real if real > 0 else float("nan")


def pair_tv(answers: np.ndarray, joint_distributions: Sequence[np.ndarray]) -> np.ndarray:
    """tv of the joint distribution of each pair of questions to the exact one, floor left in. [Q, Q].

    `joint_distributions` are [K_i, K_j], in the order of `combinations(range(Q), 2)`. Invalid answers are one more
    class, which people never give.
    """
    columns = np.asarray(answers).T
    pairs = zip(combinations(columns, 2), joint_distributions, strict=True)
    return _pair_matrix(len(columns), [_joint_tv(a, b, np.asarray(distribution)) for (a, b), distribution in pairs])


def _joint_tv(a: np.ndarray, b: np.ndarray, distribution: np.ndarray) -> float:
    rows, cols = distribution.shape
    if max(a.max() - rows, b.max() - cols) >= 0 or min(a.min(), b.min()) < -1:
        raise ValueError(f"answers do not fit a joint distribution of shape {distribution.shape}: pass -1 (invalid) to K-1 for each")
    observed = np.zeros((rows + 1, cols + 1))
    np.add.at(observed, (a, b), 1 / len(a))  # -1 is the last row or column
    distribution = checked_distribution(distribution.ravel(), distribution.size).reshape(distribution.shape)
    return float(0.5 * np.abs(observed - np.pad(distribution, ((0, 1), (0, 1)))).sum())


def pair_tv_floor(
    joint_distributions: Sequence[np.ndarray],
    n_labels: int | None,
    n_draws: int,
    rng: np.random.Generator,
    n_simulations: int = 500,
) -> np.ndarray:
    """Mean of `pair_tv` for the best learner (see `tv_floor`). [Q, Q].

    `n_labels` training raters answered both questions, `n_draws` fictitious ones do. It does not depend on
    the answers, so a bootstrap computes it once.
    """
    n_questions = (1 + round((1 + 8 * len(joint_distributions)) ** 0.5)) // 2
    return _pair_matrix(
        n_questions, [tv_floor(np.ravel(distribution), n_labels, n_draws, rng, n_simulations) for distribution in joint_distributions]
    )


def joint_tv(answers: np.ndarray, joint_distributions: Sequence[np.ndarray], n_labels: int | None, rng: np.random.Generator) -> float:
    """Mean over pairs of `pair_tv` minus its floor: which answers go together. 0 perfect."""
    return mean_over_pairs(pair_tv(answers, joint_distributions) - pair_tv_floor(joint_distributions, n_labels, len(answers), rng))


def tables_tv(a: np.ndarray, b: np.ndarray, starts: np.ndarray) -> float:
    """Mean over pairs of questions of the tv between the tables of two groups of raters (`one_hot`), floor left in."""
    gap = np.abs(a.T @ a / len(a) - b.T @ b / len(b))
    return mean_over_pairs(0.5 * np.add.reduceat(np.add.reduceat(gap, starts, 0), starts, 1))


def tables_floor(a: np.ndarray, b: np.ndarray, starts: np.ndarray, rng: np.random.Generator, n_shuffles: int = 100) -> float:
    """Mean of `tables_tv` when the two groups are shuffled together, whole rows: exact for a perfect sampler."""
    both = np.concatenate([a, b])
    orders = [rng.permutation(len(both)) for _ in range(n_shuffles)]
    return float(np.mean([tables_tv(both[order[: len(a)]], both[order[len(a) :]], starts) for order in orders]))


def joint_tv_to_raters(answers: np.ndarray, real_answers: np.ndarray, rng: np.random.Generator, n_shuffles: int = 100) -> float:
    """`joint_tv` where people's distribution is known only through fresh real raters. 0 perfect."""
    widths = widths_of(answers, real_answers)
    a, b, starts = one_hot(answers, widths), one_hot(real_answers, widths), starts_of(widths)
    return tables_tv(a, b, starts) - tables_floor(a, b, starts, rng, n_shuffles)


def fleiss_kappas(repeats: np.ndarray) -> np.ndarray:
    """Fleiss' kappa [Q] of each rater's D draws: 0 agree as strangers do, 1 never change their answer.

    Chance agreement comes from the question's distribution pooled over raters; -1 is an answer like any other. nan for
    a question to which everybody always gives the same answer: kappa is 0/0 there (agreement says nothing
    about persons). Needs D >= 2.
    """
    repeats = np.asarray(repeats)
    if repeats.ndim != 3 or repeats.shape[2] < 2:
        raise ValueError(f"repeats has shape {repeats.shape}: pass [raters, questions, draws] with at least 2 draws")
    return np.array([_fleiss_kappa(repeats[:, j]) for j in range(repeats.shape[1])])


def _fleiss_kappa(draws: np.ndarray) -> float:
    classes, n_draws = np.unique(draws), draws.shape[1]
    if classes.size == 1:
        return float("nan")
    counts = (draws[:, :, None] == classes).sum(1)
    agreement = ((counts**2).sum(1) - n_draws).mean() / (n_draws * (n_draws - 1))
    chance = ((counts.sum(0) / counts.sum()) ** 2).sum()
    return float((agreement - chance) / (1 - chance))


def fleiss_kappa(repeats: np.ndarray) -> float:
    """Mean of `fleiss_kappas` over the questions where it exists; nan when it exists for none."""
    kappas = fleiss_kappas(repeats)
    return float(np.nanmean(kappas)) if np.isfinite(kappas).any() else float("nan")
