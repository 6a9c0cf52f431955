"""Raters who do not seem to read: always one side, always the longer or shorter answer, no more agreement than a coin, or somebody's copy.

Pure functions of arrays. `weight` [raters] is what a pair of a rater counts, below 1 where many pairs were made of few ratings. Whoever is
named is named with the numbers, and only where chance would name one rater in a hundred files: the limit is .01 over the number of raters
looked at.
"""

import numpy as np
from scipy import sparse, stats

from raterhf.data.inspection.choices import Choices, Votes, independent

LEVEL = 0.01
MIN_LABELS = 10
ALWAYS = 0.9  # share of one side, or of the longer answer, from which it is a habit
MAX_COMPARED = 2000  # raters with the most labels, among whom copies are looked for
COPY = 0.9  # share of two raters' answers against the majority that they have in common
MAX_MET = 50_000_000  # times that two raters meet at a question; of more, questions are drawn
MIN_AGAINST = 10  # answers against the majority that two raters need to be told apart


def habit(rater: np.ndarray, chose: np.ndarray, weight: np.ndarray) -> dict:
    """Whoever chose one of two kinds of answer nearly always: rows [n] of the rater and whether the kind was chosen.

    `share` is everybody's; `always` and `never` list (rater, share, labels), where the share is `ALWAYS` or above (1 - `ALWAYS` or below)
    and everybody's share would not explain it.
    """
    n = np.bincount(rater, minlength=len(weight))
    k = np.bincount(rater, weights=chose, minlength=len(weight))
    found: dict = {"share": float(chose.mean()) if len(chose) else None, "labels": len(rater), "always": [], "never": []}
    seen = np.flatnonzero(n * weight >= MIN_LABELS)
    if not len(seen):
        return found
    limit, own = LEVEL / len(seen), k[seen] / n[seen]
    trials, chosen = _whole(n, k, weight, seen)
    high = (own >= ALWAYS) & (stats.binom.sf(chosen - 1, trials, found["share"]) < limit)
    low = (own <= 1 - ALWAYS) & (stats.binom.cdf(chosen, trials, found["share"]) < limit)
    for name, mask in (("always", high), ("never", low)):
        found[name] = [(int(r), float(k[r] / n[r]), int(n[r])) for r in seen[mask]]
    return found


def _whole(n: np.ndarray, k: np.ndarray, weight: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trials and successes of the raters `seen` that weigh as much as n and k do."""
    return np.round(n[seen] * weight[seen]), np.round(k[seen] * weight[seen])


def side_habit(choices: Choices, weight: np.ndarray) -> dict:
    """Choosing what stood first, where the file tells which did."""
    rows = choices.sided & (choices.label != 0)
    return habit(choices.rater[rows], choices.label[rows] == 1, weight)


def length_habit(choices: Choices, lengths: np.ndarray, weight: np.ndarray) -> dict:
    """Choosing the longer answer. `lengths` [texts] in characters."""
    longer = np.sign(lengths[choices.text[choices.a]] - lengths[choices.text[choices.b]])
    rows = (choices.label != 0) & (longer != 0)
    return habit(choices.rater[rows], choices.label[rows] == longer[rows], weight)


def with_others(votes: Votes, counts: np.ndarray, raters: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each rater's vote is most others' too: (agreements, questions) [raters]; questions where others' votes tie do not count."""
    others = counts[votes.question].copy()
    rows = np.arange(len(votes.rater))
    others[rows, votes.value] -= 1
    most = others.max(1)
    clear = (most > 0) & ((others == most[:, None]).sum(1) == 1)
    agree = others[rows, votes.value] == most
    n = np.bincount(votes.rater[clear], minlength=raters)
    return np.bincount(votes.rater[clear], weights=agree[clear], minlength=raters).astype(np.int64), n


def random_raters(agree: np.ndarray, n: np.ndarray, weight: np.ndarray, chance: float = 0.5) -> dict:
    """Raters who agree with the others less than all raters do, and no more than `chance`; and those who agree less than chance.

    Lists (rater, share, questions). Whoever answers at random agrees in about `chance` of the questions; below it somebody may have
    read the labels the other way round.
    """
    seen = np.flatnonzero(n * weight >= MIN_LABELS)
    total = n[seen].sum()
    found: dict = {"share": float(agree[seen].sum() / total) if total else None, "raters": len(seen), "random": [], "reversed": []}
    if not total or found["share"] <= chance:
        return found
    limit = LEVEL / len(seen)
    trials, agreed = _whole(n, agree, weight, seen)
    low = stats.binom.cdf(agreed, trials, found["share"]) < limit
    above_chance = stats.binom.sf(agreed - 1, trials, chance) < 0.05
    below_chance = stats.binom.cdf(agreed, trials, chance) < limit
    for name, mask in (("reversed", low & below_chance), ("random", low & ~above_chance & ~below_chance)):
        found[name] = [(int(r), float(agree[r] / n[r]), int(n[r])) for r in seen[mask]]
    return found


def copies(votes: Votes, counts: np.ndarray, raters: int, items: np.ndarray | None = None) -> dict:
    """Pairs of raters who share nearly all of their answers against the majority: (rater, other, in common, of).

    What most say is no evidence: two raters who agree with everybody agree with each other. `items` [questions, 2] are the two answers that
    a question compares: pairs made of few ratings are as few evidence.
    """
    chosen = np.sort(np.argsort(-np.bincount(votes.rater, minlength=raters), kind="stable")[:MAX_COMPARED])
    place = np.full(raters, -1)
    place[chosen] = np.arange(len(chosen))
    row, question = place[votes.rater], votes.question
    met = (np.bincount(question[row >= 0], minlength=len(counts)).astype(float) ** 2).sum()
    drawn = np.random.default_rng(0).random(len(counts)) < MAX_MET / max(met, 1.0)
    sizes = counts[question].sum(1)
    asked = (row >= 0) & drawn[question]
    against = asked & (sizes > 2) & (counts[question, votes.value] < sizes / 2)

    def matrix(rows: np.ndarray, columns: np.ndarray, width: int) -> sparse.csr_array:
        return sparse.csr_array((np.ones(rows.sum(), np.float32), (row[rows], columns[rows])), shape=(len(chosen), width))

    answers = matrix(against, question * counts.shape[1] + votes.value, counts.size)
    odd, all_asked = matrix(against, question, len(counts)), matrix(asked, question, len(counts))
    common = np.triu((answers @ answers.T).toarray(), 1)
    # Of the questions that both answered, those in which one of the two or both are against the majority.
    one = (odd @ all_asked.T).toarray()
    either = one + one.T - (odd @ odd.T).toarray()
    evidence = common
    if items is not None:
        weight = independent(row[asked], items[question[asked], 0], items[question[asked], 1], len(chosen))
        evidence = common * np.minimum(weight[:, None], weight)
    pairs = np.argwhere((evidence >= MIN_AGAINST) & (common >= COPY * either))
    found = [(int(chosen[i]), int(chosen[j]), int(common[i, j]), int(either[i, j])) for i, j in pairs]
    return {"compared": len(chosen), "pairs": found}
