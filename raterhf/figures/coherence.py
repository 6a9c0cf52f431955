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
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information

from raterhf.figures.marginal import checked_law, tv_floor


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


def mutual_information(answers: np.ndarray) -> np.ndarray:
    """Mutual information in nats between every two questions, minus its mean over permuted raters. [Q, Q].

    Each pair uses the raters with valid answers to both; it is 0 when there is none. The permuted mean is
    exact (the hypergeometric sum of Vinh, Epps and Bailey 2010), not simulated.
    """
    columns = np.asarray(answers).T
    return _pair_matrix(len(columns), [_excess_information(a, b) for a, b in combinations(columns, 2)])


def _excess_information(a: np.ndarray, b: np.ndarray) -> float:
    valid = (a >= 0) & (b >= 0)
    if not valid.any():
        return 0.0
    _, a = np.unique(a[valid], return_inverse=True)
    _, b = np.unique(b[valid], return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1), dtype=np.int64)
    np.add.at(table, (a, b), 1)
    return float(mutual_info_score(None, None, contingency=table) - expected_mutual_information(table, a.size))


def mi_ratio(answers: np.ndarray, real_answers: np.ndarray, questions: np.ndarray | None = None) -> float:
    """Mean mutual information of pairs over that of fresh real raters: 0 ID ignored, > 1 a stereotype.

    `questions` as in `mean_over_pairs`. nan when real raters show none: there is nothing to compare with.
    """
    real = mean_over_pairs(mutual_information(real_answers), questions)
    return mean_over_pairs(mutual_information(answers), questions) / real if real > 0 else float("nan")


def pair_tv(answers: np.ndarray, joint_laws: Sequence[np.ndarray]) -> np.ndarray:
    """tv of the joint law of each pair of questions to the exact one, floor left in. [Q, Q].

    `joint_laws` are [K_i, K_j], in the order of `combinations(range(Q), 2)`. Invalid answers are one more
    class, which people never give.
    """
    columns = np.asarray(answers).T
    pairs = zip(combinations(columns, 2), joint_laws, strict=True)
    return _pair_matrix(len(columns), [_joint_tv(a, b, np.asarray(law)) for (a, b), law in pairs])


def _joint_tv(a: np.ndarray, b: np.ndarray, law: np.ndarray) -> float:
    rows, cols = law.shape
    if max(a.max() - rows, b.max() - cols) >= 0 or min(a.min(), b.min()) < -1:
        raise ValueError(f"answers do not fit a joint law of shape {law.shape}: pass -1 (invalid) to K-1 for each")
    observed = np.zeros((rows + 1, cols + 1))
    np.add.at(observed, (a, b), 1 / len(a))  # -1 is the last row or column
    law = checked_law(law.ravel(), law.size).reshape(law.shape)
    return float(0.5 * np.abs(observed - np.pad(law, ((0, 1), (0, 1)))).sum())


def pair_tv_floor(
    joint_laws: Sequence[np.ndarray],
    n_labels: int | None,
    n_draws: int,
    rng: np.random.Generator,
    n_simulations: int = 500,
) -> np.ndarray:
    """Mean of `pair_tv` for the best learner (see `tv_floor`). [Q, Q].

    `n_labels` training raters answered both questions, `n_draws` fictitious ones do. It does not depend on
    the answers, so a bootstrap computes it once.
    """
    n_questions = (1 + round((1 + 8 * len(joint_laws)) ** 0.5)) // 2
    return _pair_matrix(n_questions, [tv_floor(np.ravel(law), n_labels, n_draws, rng, n_simulations) for law in joint_laws])


def joint_tv(answers: np.ndarray, joint_laws: Sequence[np.ndarray], n_labels: int | None, rng: np.random.Generator) -> float:
    """Mean over pairs of `pair_tv` minus its floor: which answers go together. 0 perfect."""
    return mean_over_pairs(pair_tv(answers, joint_laws) - pair_tv_floor(joint_laws, n_labels, len(answers), rng))


def joint_tv_to_raters(answers: np.ndarray, real_answers: np.ndarray, rng: np.random.Generator, n_shuffles: int = 100) -> float:
    """`joint_tv` where people's law is known only through fresh real raters. 0 perfect.

    tv between the two tables, minus its mean when fictitious and real raters are shuffled together (whole
    rows), which is exact for a perfect sampler.
    """
    pooled = np.concatenate([answers, real_answers])
    n = len(answers)
    cells = [np.unique(pooled[:, pair], axis=0, return_inverse=True)[1] for pair in combinations(range(pooled.shape[1]), 2)]

    def mean_tv(order: np.ndarray) -> float:
        first, second = order[:n], order[n:]
        tables = [
            np.bincount(c[first], minlength=c.max() + 1) / n - np.bincount(c[second], minlength=c.max() + 1) / len(second) for c in cells
        ]
        return float(np.mean([0.5 * np.abs(difference).sum() for difference in tables]))

    floor = np.mean([mean_tv(rng.permutation(len(pooled))) for _ in range(n_shuffles)])
    return mean_tv(np.arange(len(pooled))) - float(floor)


def fleiss_kappas(repeats: np.ndarray) -> np.ndarray:
    """Fleiss' kappa [Q] of each rater's D draws: 0 agree as strangers do, 1 never change their answer.

    Chance agreement comes from the question's law pooled over raters; -1 is an answer like any other. nan for
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
