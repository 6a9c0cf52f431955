"""Two-sample figures: do fictitious raters look like fresh real ones, and are they new people?

`answers`, `fictitious`, `real`, `training`, `fresh` are [raters, Q] class indices, complete; -1 (invalid) is
a class of its own. Every row is a different rater. The classifiers see answers only, never who gave them.
"""

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import gammaln
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

MAX_LEVELS = 12
"""Answers told apart in one question, the rarest as one; two of 101 answers would give 10,201 products."""


def c2st_scores(fictitious: np.ndarray, real: np.ndarray, seed: int, n_folds: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold scores (higher: more fictitious) of both, by whichever classifier has the larger AUC.

    A random forest on one-hot answers, and a logistic on one-hots and their products for pairs of questions:
    a plain logistic cannot see lost coherence. Each rater is scored by the folds without it (Lopez-Paz and
    Oquab 2017, cross-fitted). Bootstrap these scores for an interval of the AUC; refitting on resampled rows
    would put copies of a rater on both sides.
    """
    if min(len(fictitious), len(real)) < n_folds:
        raise ValueError(f"{len(fictitious)} fictitious and {len(real)} real raters: {n_folds} folds need as many of each")
    labels = np.repeat([1, 0], [len(fictitious), len(real)])
    one_hot = _one_hot(np.concatenate([fictitious, real]))
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed, n_jobs=1)
    logistic = LogisticRegression(C=0.1, solver="liblinear", random_state=seed)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    scores = [
        cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]
        for model, features in ((forest, np.concatenate(one_hot, 1)), (logistic, _with_products(one_hot)))
    ]
    return max(((s[labels == 1], s[labels == 0]) for s in scores), key=lambda both: auc(*both))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties one half (the statistic of Mann and Whitney 1947)."""
    m, n = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def c2st_auc(fictitious: np.ndarray, real: np.ndarray, seed: int) -> float:
    """Cross-fitted AUC of fictitious against real raters (see `c2st_scores`): .5 perfect, 1 told apart."""
    return auc(*c2st_scores(fictitious, real, seed))


def _one_hot(answers: np.ndarray) -> list[np.ndarray]:
    """For each question [raters, levels <= 12], the rarest answers of a wide one as one level."""
    blocks = []
    for column in answers.T:
        levels, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        rank = np.empty(levels.size, dtype=np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(levels.size)
        blocks.append(np.eye(min(levels.size, MAX_LEVELS), dtype=np.float32)[np.minimum(rank, MAX_LEVELS - 1)[inverse]])
    return blocks


def _with_products(one_hot: list[np.ndarray]) -> csr_matrix:
    """One-hots and, for every two questions, the one-hot of the pair of answers."""
    blocks = list(one_hot)
    for i, left in enumerate(one_hot):
        for right in one_hot[i + 1 :]:
            blocks.append((left[:, :, None] * right[:, None, :]).reshape(len(left), -1))
    return hstack([csr_matrix(block) for block in blocks], format="csr")


def copying(answers: np.ndarray, training: np.ndarray, fresh: np.ndarray) -> float:
    """Mean of `copying_by_row`: .5 for new people, near 1 for copies."""
    return float(copying_by_row(answers, training, fresh).mean())


def copying_by_row(answers: np.ndarray, training: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """[rows] 1 where the nearest training rater is nearer than the nearest fresh one, 1/2 for a tie, else 0.

    Distance is the number of different answers (Hamming, whole vector). Of the larger group a random subset
    as large as the smaller one counts: then the value is the probability over the subset, exact, so that
    nothing hangs on a draw.
    """
    size = min(len(training), len(fresh))
    near_training, near_fresh = _nearest_distribution(answers, training, size), _nearest_distribution(answers, fresh, size)
    fresh_is_farther = 1 - near_fresh.cumsum(1)
    return (near_training * (fresh_is_farther + 0.5 * near_fresh)).sum(1)


def _nearest_distribution(answers: np.ndarray, pool: np.ndarray, size: int) -> np.ndarray:
    """Distribution [rows, Q+1] of the least distance from each row to a random `size` of the pool's raters.

    P(least > d) = C(raters farther than d, size) / C(raters, size).
    """
    answers, pool = np.asarray(answers), np.asarray(pool)
    distance = (answers[:, None, :] != pool[None, :, :]).sum(2)
    farther = np.stack([(distance > d).sum(1) for d in range(-1, answers.shape[1] + 1)], 1)
    enough = farther >= size
    log_share = _log_choose(np.where(enough, farther, size), size) - _log_choose(len(pool), size)
    return -np.diff(np.where(enough, np.exp(log_share), 0.0))


def _log_choose(n: np.ndarray | int, k: int) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)
