"""Marginal figures: do samples span what people say to one question?

Notation: a question has K valid answers, classes 0..K-1; -1 is an invalid answer. `q` [K] is the population's
distribution over the valid ones. `p` [K+1] is the policy's distribution, its last entry the share of invalid answers, for which
q is 0: they are never dropped. `answers` [n] are class indices, each from a fresh rater. Pure functions of
numpy arrays; nothing here knows a model or a file. A figure that does not exist for its arguments is nan, and
each function says when.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

MIN_LOG_VARIANCE = 0.1
"""Least variance of log q under q for a question to tell how sharpened p is; a fair die has none."""

GAMMA_BOUND = 50.0
"""Beyond +-50 a policy says (nearly) only its likeliest answer: the likelihood has no maximum to speak of."""


def class_distribution(answers: np.ndarray, n_classes: int) -> np.ndarray:
    """Empirical distribution [K+1] of answers in -1..K-1, the last entry the share of invalid ones."""
    return class_counts(answers, n_classes) / np.size(answers)


def class_counts(answers: np.ndarray, n_classes: int) -> np.ndarray:
    """How often each answer was given [K+1], the last entry for invalid ones."""
    answers = np.asarray(answers).ravel()
    if answers.size == 0:
        raise ValueError("answers is empty: a distribution needs at least one answer")
    if answers.min() < -1 or answers.max() >= n_classes:
        raise ValueError(f"answers lie in [{answers.min()}, {answers.max()}]: pass -1 (invalid) to {n_classes - 1}")
    return np.bincount(np.where(answers < 0, n_classes, answers), minlength=n_classes + 1)


def checked_distribution(distribution: np.ndarray, n_classes: int) -> np.ndarray:
    """The distribution in float64, zero-padded to `n_classes`, summing to one. ValueError where it is no distribution."""
    distribution = np.asarray(distribution, dtype=np.float64)
    if distribution.size > n_classes or distribution.min() < 0 or abs(distribution.sum() - 1) > 1e-3:
        raise ValueError(
            f"distribution of {n_classes} answers has {distribution.size} entries, "
            f"sum {distribution.sum():.4f}, min {distribution.min():.4f}: "
            "they must be nonnegative and sum to 1; append the invalid share as the last"
        )
    return np.concatenate([distribution / distribution.sum(), np.zeros(n_classes - distribution.size)])


def tv(p: np.ndarray, q: np.ndarray) -> float:
    """1/2 sum |p - q|. q may be [K]; it is 0 at p's last entry then."""
    p = checked_distribution(p, np.size(p))
    return float(0.5 * np.abs(p - checked_distribution(q, p.size)).sum())


def tv_floor(
    q: np.ndarray,
    n_labels: int | None,
    n_draws: int | None,
    rng: np.random.Generator,
    n_simulations: int = 2000,
) -> float:
    """Mean tv of the best learner: the distribution of `n_labels` labels drawn from q, then `n_draws` draws from it.

    `n_draws` None: exact probabilities, no draws. `n_labels` None: a learner who knows q (a question without
    labels of its own).
    """
    q = checked_distribution(q, np.size(q))
    distributions = np.tile(q, (n_simulations, 1))
    for n in (n_labels, n_draws):
        if n is not None:
            distributions = rng.multinomial(n, distributions) / n
    return float(0.5 * np.abs(distributions - q).sum(1).mean())


def etv(p: np.ndarray, q: np.ndarray, n_labels: int | None, n_draws: int | None, rng: np.random.Generator) -> float:
    """`tv` minus `tv_floor`: 0 in the mean for the best learner, negative for one who knows more."""
    return tv(p, q) - tv_floor(q, n_labels, n_draws, rng)


def entropy(p: np.ndarray, n_draws: int | None = None) -> float:
    """Entropy in nats; of the distribution of `n_draws` draws Miller-Madow's, which adds (answers seen - 1) / 2n."""
    p = checked_distribution(p, np.size(p))
    seen = p[p > 0]
    plugin = float(-(seen * np.log(seen)).sum())
    return plugin if n_draws is None else plugin + (seen.size - 1) / (2 * n_draws)


def entropy_ratio(p: np.ndarray, q: np.ndarray, n_draws: int | None = None) -> float:
    """Miller-Madow entropy of p over entropy of q, nan when that is 0; `n_draws` None when p is exact."""
    reference = entropy(q)
    return entropy(p, n_draws) / reference if reference > 0 else float("nan")


def coverage_ratio(answers: np.ndarray, q: np.ndarray) -> float:
    """Answers hit over the number that as many draws from q hit in the mean, sum_k [1 - (1 - q_k)^n].

    Only answers that people give (q > 0) count as hit; an invalid answer has used up its draw.
    """
    q = checked_distribution(q, np.size(q))
    counts = class_counts(answers, q.size)
    hit = np.count_nonzero((counts[:-1] > 0) & (q > 0))
    return float(hit / (1 - (1 - q) ** counts.sum()).sum())


def log_distribution_variance(q: np.ndarray) -> float:
    """Var_q(log q) over the support of q."""
    support = q[q > 0]
    log_q = np.log(support)
    return float(support @ log_q**2 - (support @ log_q) ** 2)


def gamma(counts: Sequence[np.ndarray], distributions: Sequence[np.ndarray]) -> float:
    """Maximum likelihood of p_k proportional to q_k^gamma, pooled: 1 perfect, above 1 sharpened, 0 uniform.

    `counts[j]` [K] or [K+1] are the answers to question j (n times p where p is exact), `distributions[j]` [K] its q.
    Questions with Var_q(log q) < .1 are left out, and so are invalid answers and answers that nobody gives (q
    = 0), which no gamma explains. nan when no question is left, no answer is, or gamma is beyond +-50 (only
    likeliest answers, say: the maximum is at infinity).
    """
    kept = [
        (count, distribution)
        for count, distribution in zip(counts, (checked_distribution(q, np.size(q)) for q in distributions), strict=True)
        if tells_gamma(distribution)
    ]
    width = max((distribution.size for _, distribution in kept), default=0)
    table, log_distributions = np.zeros((len(kept), width)), np.full((len(kept), width), -np.inf)
    for j, (count, distribution) in enumerate(kept):
        count = np.asarray(count, dtype=np.float64)[: distribution.size]
        table[j, : count.size] = count
        log_distributions[j, : distribution.size][distribution > 0] = np.log(distribution[distribution > 0])
    return gamma_of_table(table, log_distributions)


def tells_gamma(distribution: np.ndarray) -> bool:
    """Whether a question of this distribution says how sharpened p is; a fair die does not."""
    return log_distribution_variance(distribution) >= MIN_LOG_VARIANCE


def gamma_of_table(counts: np.ndarray, log_distributions: np.ndarray) -> float:
    """`gamma` of counts [J, K] under distributions given as log q [J, K], -inf where nobody says it or there is no such answer.

    Quick enough for a bootstrap; every question counts, so leave out those of which `tells_gamma` is False.
    """
    completions = np.isfinite(log_distributions)
    counts, log_q = np.where(completions, counts, 0.0), np.where(completions, log_distributions, 0.0)
    totals, observed = counts.sum(1), (counts * log_q).sum()
    if totals.sum() == 0:
        return float("nan")

    def score(g: float) -> float:
        """Slope of the log-likelihood, which is concave: observed minus expected log q."""
        tilted = np.where(completions, g * log_q, -np.inf)
        weights = np.exp(tilted - tilted.max(1, keepdims=True))
        return observed - totals @ ((weights * log_q).sum(1) / weights.sum(1))

    if score(-GAMMA_BOUND) <= 0 or score(GAMMA_BOUND) >= 0:
        return float("nan")
    return float(brentq(score, -GAMMA_BOUND, GAMMA_BOUND))
