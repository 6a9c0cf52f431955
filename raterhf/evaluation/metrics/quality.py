"""Quality figures: how good a reward model, or a policy's knowledge of its raters, is.

Notation: a comparison has a margin, score(a) - score(b), and a label: 1 a preferred, -1 b preferred, 0 a tie.
Ties are left out of accuracy, nll and ece, all three of which speak of decided comparisons; margin 0 is a
guess. Under Bradley-Terry (and Davidson's extension to ties) the probability of a, given a decision, is
sigmoid(margin). Arrays are [N]; a mean over nothing is nan.
"""

import numpy as np
from scipy.special import expit


def accuracy(margins: np.ndarray, labels: np.ndarray) -> float:
    """Share of decided comparisons whose margin has the label's sign; margin 0 counts one half."""
    margins, labels = _decided(margins, labels)
    return _mean((1 + np.sign(margins) * labels) / 2)


def nll(margins: np.ndarray, labels: np.ndarray) -> float:
    """Bradley-Terry negative log-likelihood of decided comparisons, in nats; log 2 for a guess."""
    margins, labels = _decided(margins, labels)
    return _mean(np.logaddexp(0, -margins * labels))


def ece(margins: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of decided comparisons: mean of |accuracy - confidence| of an example's bin.

    Confidence is the probability of the preferred side, in `bins` equal bins from .5 to 1. Which side is
    called a is arbitrary (in chosen/rejected files a always wins), so the figure must not depend on it:
    calibration of P(a) itself would.
    """
    margins, labels = _decided(margins, labels)
    if margins.size == 0:
        return float("nan")
    confidence = expit(np.abs(margins))
    right = (1 + np.sign(margins) * labels) / 2
    index = np.minimum(((confidence - 0.5) * 2 * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / margins.size)


def flip_rate(margins: np.ndarray, swapped_margins: np.ndarray) -> float:
    """How often the preference flips when the rater is swapped; one half where one of the two margins is 0.

    Row n is one comparison scored for two raters. Pass comparisons on which these two raters disagree: a
    model that knows them flips each (1), one that ignores its rater none (0).
    """
    flips = np.abs(np.sign(np.asarray(margins, float)) - np.sign(np.asarray(swapped_margins, float))) / 2
    return _mean(flips)


def rater_accuracies(margins: np.ndarray, labels: np.ndarray, rater_ids: np.ndarray) -> np.ndarray:
    """`accuracy` for each rater, in the order of sorted IDs; nan for a rater who decided nothing."""
    margins, labels, rater_ids = np.asarray(margins), np.asarray(labels), np.asarray(rater_ids)
    return np.array([accuracy(margins[rater_ids == r], labels[rater_ids == r]) for r in np.unique(rater_ids)])


def worst_decile(accuracies: np.ndarray) -> float:
    """Mean over the worst tenth of raters, rounded up to whole raters; nan accuracies are left out."""
    accuracies = np.sort(np.asarray(accuracies, float))
    accuracies = accuracies[np.isfinite(accuracies)]
    return _mean(accuracies[: -(-accuracies.size // 10)])


def skill(nll_null: float, nll: float, nll_bayes: float) -> float:
    """(NLL_null - NLL) / (NLL_null - NLL_Bayes): 0 knows nothing of the rater, 1 all that can be known.

    nan when there is nothing to know (NLL_null <= NLL_Bayes).
    """
    return (nll_null - nll) / (nll_null - nll_bayes) if nll_null > nll_bayes else float("nan")


def _decided(margins: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    margins, labels = np.asarray(margins, dtype=np.float64), np.asarray(labels)
    if margins.shape != labels.shape:
        raise ValueError(f"{margins.shape} margins and {labels.shape} labels: pass one label (1, 0 or -1) for each margin")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError(f"labels hold {sorted(set(np.unique(labels).tolist()) - {-1, 0, 1})}: they must be 1, 0 or -1")
    return margins[labels != 0], labels[labels != 0]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
