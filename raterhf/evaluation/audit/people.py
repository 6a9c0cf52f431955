"""Raters in an audit: each with what is known of their care, habits and taste, who are far apart or alike, and who copies whom.

Every figure of a person is [value, low, high], the 95 % interval of their posterior. Whoever is named for a habit or for little care is
named because the whole interval lies beyond the limit.
"""

import numpy as np
from scipy import stats
from scipy.special import expit

from raterhf.data.inspection import habits
from raterhf.data.inspection.agreement import vote_counts
from raterhf.evaluation.audit.judged import Judged
from raterhf.evaluation.audit.things import Axes, against_average, thing
from raterhf.raters.disagreement import Pairs, PairVoices, RatingVoices, interval, of_two, preferring
from raterhf.raters.items import Ratings

CARELESS = 0.5  # of the average rater's care
HABIT = 0.75  # share of one side, or of the answer twice as long, between answers that are worth the same
LEVEL = 0.5  # of the ratings' spread, by which somebody rates everything higher or lower
ALIKE = 0.01  # spread of care up to which everybody is equally careful
Z = 1.959964
COMPARED = 150  # raters with the most labels, of whom couples are looked for
COUPLES, ONCE = 5, 2  # shown, and how often one rater stands in them
PAIRS = 500  # that a couple is asked about
MOST_COUNTS = 20_000_000  # questions times kinds of answers, that copies are looked for in
SHARED_MOST = 2000  # rated things of a couple, of which every two are looked at


def people(data: Judged, voices: PairVoices | RatingVoices, axes: Axes) -> list[dict]:
    """A row for each rater, the most labels first: labels, agreement with others, care, habits, coordinates on the axes."""
    raters = len(data.raters)
    labels = np.bincount(data.said.rater, minlength=raters)
    if data.kind != "ratings":
        agree, asked = habits.with_others(data.votes, vote_counts(data.votes, data.values), raters)
    columns = _of_pairs(data, voices) if isinstance(voices, PairVoices) else _of_ratings(data, voices)
    for name, place in (("x", 0), ("y", 1)):
        if place < len(axes.share):
            columns[name] = _normal(axes.mean[:, place], axes.spread[:, place])
    rows = []
    for i in np.argsort(-labels, kind="stable"):
        row = {"rater": str(data.raters[i]), "labels": int(labels[i])}
        if data.kind != "ratings":
            row |= {"agrees": int(agree[i]), "with_others": int(asked[i])}
        rows.append(row | {name: [round(float(part), 4) for part in values[i]] for name, values in columns.items()})
    return rows


def _normal(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.stack([mean, mean - Z * spread, mean + Z * spread], 1)


def _of_pairs(data: Judged, voices: PairVoices) -> dict[str, np.ndarray]:
    mean = voices.people.mean
    spread = np.sqrt(np.diagonal(voices.people.covariance, axis1=1, axis2=2))
    found = {"care": _normal(mean[:, 1], spread[:, 1])}
    if data.sided:
        found["first"] = expit(_normal(mean[:, 0], spread[:, 0]))
    if mean.shape[1] > 2 + voices.model.worth.shape[1] - 1:
        found["longer"] = expit(np.log(2) * _normal(mean[:, -1], spread[:, -1]))
    return found


def _of_ratings(data: Judged, voices: RatingVoices) -> dict[str, np.ndarray]:
    quantiles = stats.gamma.ppf([[0.025], [0.975]], voices.shape) / voices.rate
    steady = voices.tastes.steadiness
    found = {"care": np.sqrt(np.stack([steady, *quantiles], 1)) if np.isfinite(voices.model.nu) else np.ones((len(steady), 3))}
    average = np.average(voices.model.loading, axis=0, weights=data.met())
    found["level"] = _normal(voices.tastes.mean @ average, np.sqrt(np.einsum("k,rkl,l->r", average, voices.tastes.covariance, average)))
    return found


def everybody(data: Judged, voices: PairVoices | RatingVoices, seed: int, draws: int = 100) -> dict:
    """Habits of all raters together: mean and spread over raters, each [value, low, high]."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x686162]))
    drawn: dict[str, list[np.ndarray]] = {}
    for _ in range(draws):
        numbers = voices.draw(rng)[rng.integers(len(data.raters), size=len(data.raters))]
        care = numbers[:, 0 if isinstance(voices, RatingVoices) else 1]
        if care.std() > ALIKE:
            drawn.setdefault("care", []).append(np.sqrt(care) if isinstance(voices, RatingVoices) else care)
        if isinstance(voices, RatingVoices):
            average = np.average(voices.model.loading, axis=0, weights=data.met())
            drawn.setdefault("level", []).append(numbers[:, 1:] @ average)
            continue
        if data.sided:
            drawn.setdefault("first", []).append(expit(numbers[:, 0]))
        if data.said.apart.shape[1]:
            drawn.setdefault("longer", []).append(expit(np.log(2) * numbers[:, -1]))
    return {
        name: {"mean": interval(np.array([one.mean() for one in each])), "spread": interval(np.array([one.std() for one in each]))}
        for name, each in drawn.items()
    }


def named(rows: list[dict], spread: float) -> dict[str, list[dict]]:
    """Whose whole interval lies beyond a limit, the surest first; `spread` is the ratings' standard deviation."""
    limits: dict[str, tuple[str, float | None, float]] = {
        "careless": ("care", None, CARELESS), "opposite": ("care", None, 0.0),
        "first": ("first", HABIT, 1.0), "second": ("first", None, 1 - HABIT),
        "longer": ("longer", HABIT, 1.0), "shorter": ("longer", None, 1 - HABIT),
        "high": ("level", LEVEL * spread, np.inf), "low": ("level", None, -LEVEL * spread),
    }  # fmt: skip
    found = {}
    for name, (figure, above, below) in limits.items():
        those = [row for row in rows if figure in row and (row[figure][1] > above if above is not None else row[figure][2] < below)]
        if name == "careless":  # not those who surely prefer the opposite
            those = [row for row in those if row[figure][1] > -CARELESS]
        those.sort(key=lambda row: -row[figure][1] if above is not None else row[figure][2])
        if those:
            found[name] = [{"rater": row["rater"], "labels": row["labels"], "value": row[figure]} for row in those]
    return found


def couples(data: Judged, voices: PairVoices | RatingVoices, pairs: Pairs, seed: int) -> dict[str, list[dict]]:
    """Who disagrees most with whom, and who least, of the `COMPARED` raters with the most labels; and on what.

    Couples who judged nothing in common are left out: the model has a guess of them, and labels show nothing of it.
    `differ` is how often two disagree about a pair, as both would answer now: [value, low, high]. `shared` and `differed` are what the data
    show of it. `first_prefers` and `second_prefers` are the things on which they are furthest apart.
    """
    labels = np.bincount(data.said.rater, minlength=len(data.raters))
    most = np.argsort(-labels, kind="stable")[:COMPARED]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x74776F]))
    asked = pairs.rows(rng.integers(len(pairs), size=PAIRS))
    share = preferring(voices, voices.mean()[most], asked)
    differ = (share @ (1 - share).T + (1 - share) @ share.T) / PAIRS
    differ[~_together(data, most)] = np.nan
    found = {}
    for name, sign in (("apart", -1), ("alike", 1)):
        chosen = _chosen(sign * differ)
        two = most[np.array(chosen, np.int64).reshape(-1, 2)]
        told = of_two(voices, asked, two, seed) if len(two) else np.zeros((1, 0))
        order = np.argsort(sign * told.mean(0), kind="stable")
        found[name] = [_couple(data, voices, int(two[i, 0]), int(two[i, 1]), told[:, i]) for i in order]
    return found


def _together(data: Judged, raters: np.ndarray) -> np.ndarray:
    """Which two of some raters judged the same thing [K, K]."""
    said, row = data.said, np.full(len(data.raters), -1)
    row[raters] = np.arange(len(raters))
    seen = np.zeros((len(raters), len(data.texts)))
    for item in [said.item] if isinstance(said, Ratings) else [said.a, said.b]:
        mine = row[said.rater] >= 0
        seen[row[said.rater[mine]], item[mine]] = 1
    return seen @ seen.T > 0


def _chosen(distance: np.ndarray) -> list[tuple[int, int]]:
    """The couples of least distance, nobody in more than `ONCE` of them; none whose distance is NaN."""
    upper = np.triu_indices(len(distance), 1)
    times, found = np.zeros(len(distance), int), []
    for i in np.argsort(distance[upper], kind="stable"):
        r, s = int(upper[0][i]), int(upper[1][i])
        if np.isnan(distance[r, s]):  # and so are all after it
            break
        if times[r] < ONCE and times[s] < ONCE:
            found.append((r, s))
            times[[r, s]] += 1
        if len(found) == COUPLES:
            break
    return found


def _couple(data: Judged, voices: PairVoices | RatingVoices, r: int, s: int, differ: np.ndarray) -> dict:
    shared, differed = _met(data, r, s)
    known = np.flatnonzero(data.met() > 1)
    mine, theirs = against_average(data, voices, voices.mean()[[r, s]], known)
    gap = mine - theirs
    return {
        "raters": [str(data.raters[r]), str(data.raters[s])], "differ": interval(differ), "shared": shared, "differed": differed,
        "first_prefers": thing(data, int(known[gap.argmax()])), "second_prefers": thing(data, int(known[gap.argmin()])),
    }  # fmt: skip


def _met(data: Judged, r: int, s: int) -> tuple[int, int]:
    """Pairs that two raters both decided, and of them those they decided differently."""
    if isinstance(data.said, Ratings):
        mine, theirs = ({int(i): float(v) for i, v in zip(one.item, one.value)} for one in (_of(data.said, r), _of(data.said, s)))
        both = np.array(sorted(mine.keys() & theirs.keys()), np.int64)[:SHARED_MOST]
        a, b = np.triu_indices(len(both), 1)
        alike = data.group[both[a]] == data.group[both[b]] if len(both) else np.zeros(0, bool)
        order = [np.sign(v[a] - v[b]) for v in (np.array([one[int(i)] for i in both]) for one in (mine, theirs))] if len(both) else [a, a]
        decided = alike & (order[0] != 0) & (order[1] != 0)
        return int(decided.sum()), int((decided & (order[0] != order[1])).sum())
    rows = [
        dict(zip(data.votes.question[m].tolist(), data.votes.value[m].tolist())) for m in (data.votes.rater == r, data.votes.rater == s)
    ]
    both = rows[0].keys() & rows[1].keys()
    return len(both), sum(rows[0][question] != rows[1][question] for question in both)


def _of(ratings: Ratings, rater: int) -> Ratings:
    return ratings.rows(np.flatnonzero(ratings.rater == rater))


def copying(data: Judged) -> dict | None:
    """Couples who share nearly all of the answers that most others did not give; ratings are the same where they are equal.

    None where the kinds of answers are too many to look at.
    """
    if (int(data.votes.question.max(initial=0)) + 1) * data.values > MOST_COUNTS:
        return None
    found = habits.copies(data.votes, vote_counts(data.votes, data.values), len(data.raters), data.compared)
    pairs = [
        {"raters": [str(data.raters[one]), str(data.raters[other])], "in_common": same, "of": either}
        for one, other, same, either in found["pairs"]
    ]
    return {"compared": found["compared"], "pairs": sorted(pairs, key=lambda pair: -pair["in_common"])}
