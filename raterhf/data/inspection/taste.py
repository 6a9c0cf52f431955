"""How much of what others' labels do not explain is explained by the same person's other labels: what a model that knows raters can gain.

Choices are predicted by what other raters taught: the value of every answer, and the main directions in which raters differ (a factor model
of what values leave over). Then by the rater's own other labels besides: a vector that weighs these directions and plain features of the
texts; and by another rater's vector in its place. A rater's answers (items) are split at random into `FOLDS` parts; a pair is tried if both
of its answers lie in one part, by what pairs without an answer of that part tell, so that no single rating stands on both sides. Many pairs
may be made of few ratings, so a rater's pairs count as no more labels than there are answers in them. No text is understood here: taste
that only a reader could see is not counted, so the gain is the least there is.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, svds

from raterhf.data.inspection.choices import Choices, independent, numbered

MAX_ROWS = 150_000  # raters are drawn until they have as many; the figures then speak of them
MAX_OF_ONE = 300  # labels of a rater, drawn at random where there are more
MIN_LABELS = 6  # of a rater
MIN_ROWS = 200  # decided pairs to try the prediction on
GROUPS = 5  # of raters: what others taught is learned from other groups
FOLDS = 3  # of a rater's answers
RANK = 8
MIN_MET = 4  # raters who met an item, for it to say how raters differ
RIDGE = 1.0  # weight of the prior of an item's value, in labels
FACTOR_STEPS, VECTOR_STEPS = 12, 15
REPLICATES = 400
AGREES = 0.65  # share of the others' verdicts that a rater shares in the pairs not tried, from which they count as careful


def persistence(choices: Choices, features: np.ndarray, raters: int, seed: int = 0) -> dict | None:
    """Accuracy on decided pairs by others' labels (`others`), with the rater's own (`own`), with another rater's (`another`).

    `features` [n, d] are differences a - b in which raters may differ (length, side). `gain` is own - others with its 95 % interval (raters
    resampled), `careful` the same among raters who agree with others elsewhere; `explained` is the share of the squared error of `others`
    that the rater's own labels take away. None where too few labels can be tried.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7461737465]))
    rows = _drawn(choices, raters, rng)
    if len(rows) < MIN_ROWS or len(np.unique(choices.rater[rows])) < 2 * GROUPS:
        return None
    fold_a, fold_b = _folds(choices, rows, rng)
    rater = numbered(choices.rater[rows])
    items = numbered(np.concatenate([choices.a[rows], choices.b[rows]]))
    a, b = items[: len(rows)], items[len(rows) :]
    label = choices.label[rows].astype(float)
    spread = features[rows].std(0)
    scaled = features[rows] / np.where(spread > 0, spread, 1.0)
    group = rng.permutation(np.arange(int(rater.max()) + 1) % GROUPS)[rater]
    fold, weights = np.where(fold_a == fold_b, fold_a, -1), independent(rater, a, b, int(rater.max()) + 1)[rater]
    by_others, by_own, by_another = np.zeros((3, len(rows)))
    for k in range(GROUPS):
        # Widths are read off raters whom the directions were not learned from: on those they would look too wide.
        new, gauge = np.flatnonzero(group == k), group == (k + 1) % GROUPS
        learn = ~gauge & (group != k)
        value, weight, direction = _common(a[learn], b[learn], label[learn], scaled[learn], numbered(rater[learn]), int(items.max()) + 1)
        base = value[a] - value[b] + scaled @ weight
        apart = np.concatenate([direction[a] - direction[b], scaled], axis=1)
        left = label - base
        width, noise = _widths(left[gauge], apart[gauge], numbered(rater[gauge]), weights[gauge])
        by_others[new] = base[new]
        who = numbered(rater[new])
        stand_in = np.roll(np.arange(who.max() + 1), 1)[who]
        for f in range(FOLDS):
            told = new[(fold_a[new] != f) & (fold_b[new] != f)]
            place = np.searchsorted(new, told)
            vector = _posterior(left[told], apart[told], who[place], weights[told], int(who.max()) + 1, width, noise)[0]
            tried = fold[new] == f
            by_own[new[tried]] = base[new[tried]] + (vector[who[tried]] * apart[new[tried]]).sum(1)
            by_another[new[tried]] = base[new[tried]] + (vector[stand_in[tried]] * apart[new[tried]]).sum(1)
    kept = fold >= 0
    if (label[kept] != 0).sum() < MIN_ROWS:
        return None
    return _figures(label[kept], rater[kept], fold[kept], by_others[kept], by_own[kept], by_another[kept], rng)


def _drawn(choices: Choices, raters: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of raters with `MIN_LABELS` labels, `MAX_OF_ONE` of each at the most, of as many raters as come to `MAX_ROWS` rows."""
    order = rng.permutation(len(choices))
    order = order[np.argsort(choices.rater[order], kind="stable")]
    n = np.bincount(choices.rater, minlength=raters)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(n) - n, n)
    capped = np.minimum(n, MAX_OF_ONE)
    people = rng.permutation(np.flatnonzero(n >= MIN_LABELS))
    taken = people[np.cumsum(capped[people]) - capped[people] < MAX_ROWS]
    return np.sort(order[(rank < MAX_OF_ONE) & np.isin(choices.rater[order], taken)])


def _folds(choices: Choices, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The fold of each row's answers a and b for its rater. An answer that a rater met in one question alone lies where the other does."""
    rater = choices.rater[rows].astype(np.int64)
    nodes, place = np.unique(np.concatenate([rater * choices.items + side[rows] for side in (choices.a, choices.b)]), return_inverse=True)
    question = np.concatenate([choices.question[rows]] * 2)
    questions = int(choices.question.max()) + 1
    met = np.unique(place * questions + question) // questions
    alone = np.bincount(met, minlength=len(nodes)) == 1
    fold = rng.integers(FOLDS, size=len(nodes))
    a, b = place[: len(rows)], place[len(rows) :]
    return np.where(alone[a], fold[b], fold[a]), np.where(alone[b] & ~alone[a], fold[a], fold[b])


def _common(a, b, label, features, rater, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What raters have in common: values of items [items], weights of features [d], directions of taste [items, k]."""
    n = len(a)
    design = sparse.csr_array((np.repeat([1.0, -1.0], n), (np.tile(np.arange(n), 2), np.concatenate([a, b]))), shape=(n, items))
    weight = np.linalg.solve(features.T @ features + RIDGE * np.eye(features.shape[1]), features.T @ label)
    normal = LinearOperator((items, items), matvec=lambda v: design.T @ (design @ v) + RIDGE * v, dtype=float)
    value, _ = cg(normal, design.T @ (label - features @ weight), rtol=1e-4, maxiter=200)
    return value, weight, _directions(label - features @ weight - design @ value, a, b, rater, items)


def _directions(left, a, b, rater, items: int) -> np.ndarray:
    """Loadings [items, k] of a factor model of each rater's mean leftover at each item, by EM from singular vectors.

    Every mean counts once, however many pairs it is of. Loadings have a normal prior whose width each factor learns, which leaves out
    factors that the labels do not carry.
    """
    raters = int(rater.max()) + 1
    where = (np.concatenate([rater, rater]), np.concatenate([a, b]))
    mean = sparse.coo_array((np.concatenate([left, -left]), where), shape=(raters, items)).tocsr()
    once = sparse.coo_array((np.ones(2 * len(a)), where), shape=(raters, items)).tocsr()
    mean.data /= once.data
    once.data[:] = 1.0
    shared = np.flatnonzero(once.sum(0) >= MIN_MET)
    mean, once = mean[:, shared], once[:, shared]
    rank = min(RANK, min(mean.shape) - 1)
    if rank < 1 or not np.abs(mean.data).any():
        return np.zeros((items, 0))
    loading = svds(mean, k=rank, rng=np.random.default_rng(0))[2].T * np.sqrt(len(shared)) * 0.1
    noise, precision, spread = float((mean.data**2).mean()), np.full(rank, 10.0), np.zeros((len(shared), rank, rank))
    for _ in range(FACTOR_STEPS):
        taste, taste_spread = _regress(mean, once, loading, spread, np.ones(rank), noise)
        loading, spread = _regress(mean.T.tocsr(), once.T.tocsr(), taste, taste_spread, precision, noise)
        precision = len(shared) / ((loading**2).sum(0) + np.einsum("ikk->k", spread) + 1e-6)
        explained = 2 * (taste * (mean @ loading)).sum() - (_second(taste, taste_spread) * (once @ _second(loading, spread))).sum()
        noise = max(float(((mean.data**2).sum() - explained) / once.nnz), 1e-3)
    directions = np.zeros((items, rank))
    directions[shared] = loading
    return directions


def _regress(total, once, other, other_spread, precision, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means [rows, k] and covariances [rows, k, k] of the vectors of rows, given means and covariances of the columns'."""
    rows, rank = total.shape[0], other.shape[1]
    gram = (once @ _second(other, other_spread)).reshape(rows, rank, rank) / noise + np.diag(precision)
    spread = np.linalg.inv(gram)
    return np.einsum("rij,rj->ri", spread, total @ other) / noise, spread


def _second(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Second moments of vectors, flat: [rows, k * k]."""
    return (mean[:, :, None] * mean[:, None, :] + spread).reshape(len(mean), -1)


def _widths(left, apart, rater, weights) -> tuple[np.ndarray, float]:
    """Variances [d] of raters' vectors and of the noise, fitted by EM to leftovers = apart @ vector + noise."""
    raters, width = int(rater.max()) + 1, np.full(apart.shape[1], 0.1)
    power = float((weights * left**2).sum())
    noise = power / weights.sum() + 1e-6
    for _ in range(VECTOR_STEPS):
        mean, spread, (gram, cross) = _posterior(left, apart, rater, weights, raters, width, noise)
        second = spread + mean[:, :, None] * mean[:, None, :]
        width = np.maximum(np.einsum("rii->i", second) / raters, 1e-8)
        noise = max(float((power - 2 * (mean * cross).sum() + (gram * second).sum()) / weights.sum()), 1e-6)
    return width, noise


def _posterior(left, apart, rater, weights, raters: int, width, noise: float):
    """Means [raters, d] and covariances of raters' vectors, and each rater's sums of apart apart' and apart left."""
    n, d = apart.shape
    by_rater = sparse.csr_array((weights, (rater, np.arange(n))), shape=(raters, n))
    gram = np.stack([by_rater @ (apart * apart[:, [i]]) for i in range(d)], axis=1)
    cross = by_rater @ (apart * left[:, None])
    spread = np.linalg.inv(gram / noise + np.diag(1 / width))
    return np.einsum("rij,rj->ri", spread, cross) / noise, spread, (gram, cross)


def _figures(label, rater, fold, by_others, by_own, by_another, rng: np.random.Generator) -> dict:
    decided = label != 0
    right = {
        name: np.where(decided, (1 + np.sign(np.round(margin, 12)) * label) / 2, 0.0)
        for name, margin in (("others", by_others), ("own", by_own), ("another", by_another))
    }
    raters = int(rater.max()) + 1
    tried = np.bincount(rater[decided], minlength=raters)
    found: dict = {name: float(values[decided].mean()) for name, values in right.items()}
    gain = right["own"] - right["others"]
    found |= _gain(gain, decided, rater, raters, rng)
    known = decided & (np.abs(by_others) > 1e-9)
    error = ((label - by_others) ** 2, (label - by_own) ** 2)
    found |= {
        "explained": float(1 - error[1].sum() / error[0].sum()), "pairs": int(decided.sum()), "raters": int((tried > 0).sum()),
        "with_others_labels": float(known.sum() / decided.sum()),
    }  # fmt: skip
    place = (rater * FOLDS + fold)[decided]
    agreed = np.bincount(place, weights=right["others"][decided], minlength=raters * FOLDS).reshape(raters, FOLDS)
    sizes = np.bincount(place, minlength=raters * FOLDS).reshape(raters, FOLDS)
    elsewhere = (agreed.sum(1, keepdims=True) - agreed) / np.maximum(sizes.sum(1, keepdims=True) - sizes, 1)
    careful = decided & (elsewhere[rater, fold] >= AGREES)
    if careful.sum() >= MIN_ROWS:
        means = {name: float(values[careful].mean()) for name, values in right.items()}
        found["careful"] = (
            means | _gain(gain, careful, rater, raters, rng) | {"raters": len(np.unique(rater[careful])), "pairs": int(careful.sum())}
        )
    else:
        found["careful"] = None
    return found


def _gain(gain, rows, rater, raters: int, rng: np.random.Generator) -> dict:
    """Mean gain over `rows`, and its interval over resampled raters."""
    sums = np.bincount(rater[rows], weights=gain[rows], minlength=raters)
    sizes = np.bincount(rater[rows], minlength=raters)
    present = np.flatnonzero(sizes)
    drawn = present[rng.integers(len(present), size=(REPLICATES, len(present)))]
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return {"gain": float(sums.sum() / sizes.sum()), "interval": [float(low), float(high)]}
