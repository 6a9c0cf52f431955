"""Do raters agree with each other, and with themselves when they are asked again?

Pure functions of arrays. Krippendorff's alpha is 0 where raters agree no more than chance would have it, 1 where they always do. Intervals
are 95 %, from leaving out one of twenty parts of the questions after another (the jackknife).
"""

from collections.abc import Callable

import krippendorff
import numpy as np
from scipy import stats

from raterhf.data.inspection.choices import Votes, numbered

PARTS = 20
MIN_QUESTIONS = 20  # that two raters or more answered, or that one answered again, for a figure to be given
MAX_VALUES = 200
MAX_QUESTIONS = 50_000  # of more, as many are drawn


def vote_counts(votes: Votes, values: int) -> np.ndarray:
    """How many raters gave each value: [questions, values]."""
    size = int(votes.question.max(initial=-1)) + 1
    flat = np.bincount(votes.question * values + votes.value, minlength=size * values)
    return flat.reshape(size, values)


def alpha(counts: np.ndarray, mirrored: bool = False) -> dict | None:
    """Krippendorff's alpha, nominal, of value counts [questions, values], with its interval; None where too few questions are shared.

    `mirrored`: the values are worse, equal, better of two answers whose order means nothing. Every question then counts once from either
    side, so that chance is an even choice; otherwise it would be read off an order that the file gave.
    """
    shared = counts[counts.sum(1) > 1]
    if len(shared) > MAX_QUESTIONS:
        shared = shared[np.random.default_rng(0).permutation(len(shared))[:MAX_QUESTIONS]]
    if len(shared) < MIN_QUESTIONS or counts.shape[1] > MAX_VALUES:
        return None

    def value(rows: np.ndarray) -> float:
        both = np.concatenate([rows, rows[:, ::-1]]) if mirrored else rows
        if (both.sum(0) > 0).sum() < 2:
            return 1.0  # nobody ever gave another value
        return float(krippendorff.alpha(value_counts=both, level_of_measurement="nominal"))

    low, high = _jackknife(lambda kept: value(shared[kept]), len(shared))
    return {"alpha": value(shared), "interval": [low, high], "questions": len(shared), "votes": int(shared.sum())}


def disagreement(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each question [questions]: pairs of votes that differ, and all pairs of votes."""
    n = counts.sum(1)
    return (n**2 - (counts**2).sum(1)) / 2, n * (n - 1) / 2


def repeats(rater: np.ndarray, question: np.ndarray, value: np.ndarray, values: int) -> dict:
    """What raters said who were asked the same again, from arrays [n] of codes; and beside what others said to these questions.

    `repeats` is the share of the disagreement between raters that comes back with the person: 1 - (how often one rater's two answers
    differ) / (how often two raters' do), on the same questions; 0 where people contradict themselves as often as each other.
    """
    own = numbered(rater.astype(np.int64) * (int(question.max(initial=0)) + 1) + question)
    sizes = np.bincount(own) if len(own) else np.zeros(0, int)
    again = np.flatnonzero(sizes > 1)
    rows = np.isin(own, again)
    slot = np.searchsorted(again, own[rows])
    counts = np.bincount(slot * values + value[rows], minlength=len(again) * values).reshape(len(again), values)
    changed, pairs = disagreement(counts)
    found = {"asked": len(again), "changed": int((changed > 0).sum()), "differs": _ratio(changed.sum(), pairs.sum())}
    first = np.unique(own, return_index=True)[1]
    between, between_pairs = disagreement(vote_counts(Votes(rater[first], question[first], value[first]), values))
    home = np.zeros(len(again), np.int64)
    home[slot] = question[rows]
    asked = np.unique(home)
    asked = asked[between_pairs[asked] > 0]
    if len(asked) < MIN_QUESTIONS:
        return found | {"repeats": None, "interval": None, "others_differ": None}
    within = np.bincount(home, weights=changed, minlength=len(between))[asked]
    within_pairs = np.bincount(home, weights=pairs, minlength=len(between))[asked]

    def share(kept: np.ndarray) -> float:
        # A question counts by its number of repeats, so that easy ones weigh alike on both sides.
        weight = within_pairs[kept]
        others = (weight * between[asked][kept] / between_pairs[asked][kept]).sum() / weight.sum()
        return float(1 - within[kept].sum() / weight.sum() / others) if others > 0 else float("nan")

    everything = np.arange(len(asked))
    value_all = share(everything)
    if not np.isfinite(value_all):
        return found | {"repeats": None, "interval": None, "others_differ": 0.0}
    low, high = _jackknife(share, len(asked))
    others = (within_pairs * between[asked] / between_pairs[asked]).sum() / within_pairs.sum()
    return found | {"repeats": value_all, "interval": [low, high], "others_differ": float(others)}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _jackknife(value: Callable[[np.ndarray], float], size: int) -> tuple[float, float]:
    """95 % interval of a figure of `size` questions, by leaving out each of `PARTS` parts of them."""
    part = np.arange(size) * PARTS // size
    left_out = np.array([value(np.flatnonzero(part != k)) for k in range(PARTS)])
    error = np.sqrt((PARTS - 1) / PARTS * ((left_out - left_out.mean()) ** 2).sum())
    half, middle = stats.t.ppf(0.975, PARTS - 1) * error, value(np.arange(size))
    return float(middle - half), float(middle + half)
