"""`raterhf bench raters --people`: are people who are drawn from the population like people whom no fit has seen?

Each unseen person gets a fictitious twin: numbers drawn from the fitted population, and labels drawn for just the things that the person
judged. Posterior predictive checks compare the two crowds; beside them stand twins by a model without tastes, by an ensemble (each twin is
a member, which saw raters drawn again and knows nobody) and by a model of labels whose IDs were given at random; and, where the tastes of a
crowd are compared, as many known people. Ratings are read by `raters/items.py`, comparisons by `raters/pairs.py`; no text is read.

    agreement         share of a person's pairs that are decided as most people's values would have it: mean over people
    spread            its standard deviation over people: how different people are from one another
    odd ones          share of people who agree with most in less than half of their pairs
    wins              how differently people let one thing win: the standard deviation, over people, of the share of its pairs that a
                      thing wins within a person; mean over things
    two differ        how often two people of the crowd decide a pair differently that both decided
    of it in couples  its standard deviation over couples, as far as it persists: of a couple's share on one half of the things, and on the
                      other, the covariance over couples, its root. 0 where only chance sets people apart
    rarest tenth      of the tenth of the unseen people whose inferred tastes are furthest from all others', the share whose neighbourhood
                      (up to the fifth nearest of the unseen) has somebody of the crowd in it

Intervals are over people drawn again.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from raterhf.bench import comparisons as comparisons_table
from raterhf.bench import raters as raters_table
from raterhf.bench.comparisons import KEPT_ITEMS, PRECISIONS, TASTES, holds_comparisons, read_comparisons
from raterhf.bench.raters import RANK, STEADY, differing, kept_back, nobody, read_table
from raterhf.bench.rival_tellers import ENSEMBLE, RANDOM_IDS
from raterhf.bench.twins import STEPS, best_precision, drawn_comparisons, drawn_ratings, of_two_answers
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.raters.items import Ratings, fit_items, infer_tastes, log_likelihood
from raterhf.raters.pairs import Comparisons, fit_pairs, infer_people, kept_apart
from raterhf.terminal import show_table

UNSEEN, FICTITIOUS, TASTELESS, OTHERS = "unseen people", "fictitious people", "fictitious, without tastes", "known people"
CHECKS = ("agreement", "spread", "odd ones", "wins", "two differ", "of it in couples", "rarest tenth")
SHARED = 3  # pairs of each half that a couple must both have decided
NEIGHBOURS = 5
RARE = 0.1
RESAMPLES = 400
FEWEST = 20  # unseen people


@dataclass(frozen=True)
class Crowd:
    """P pairs that people decided: `rater` [P] from 0, `a`, `b` [P] things, `won` [P] 1 where a is better, else 0; and what is inferred of
    their tastes [R, k], nothing where tastes are not compared."""

    rater: np.ndarray
    a: np.ndarray
    b: np.ndarray
    won: np.ndarray
    taste: np.ndarray | None


def agreements(crowd: Crowd, worth: np.ndarray) -> np.ndarray:
    """The share [R] of each person's pairs that are decided as `worth` [I] has it; NaN for who decided none; equal worths are half."""
    people = int(crowd.rater.max()) + 1
    as_most = (1 + np.sign(worth[crowd.a] - worth[crowd.b]) * (2 * crowd.won - 1)) / 2
    count = np.bincount(crowd.rater, minlength=people)
    return np.where(count > 0, np.bincount(crowd.rater, as_most, people) / np.maximum(count, 1), np.nan)


def wins(crowd: Crowd, items: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of its pairs that a thing wins within a person [R, I], and whether it stands in any of them."""
    people = int(crowd.rater.max()) + 1
    key = np.concatenate([crowd.rater * items + crowd.a, crowd.rater * items + crowd.b])
    won = np.bincount(key, np.concatenate([crowd.won, 1 - crowd.won]), people * items)
    count = np.bincount(key, minlength=people * items)
    return (won / np.maximum(count, 1)).reshape(people, items), count.reshape(people, items) > 0


@dataclass(frozen=True)
class Couples:
    """Every two of R people: `shared` pairs that both decided and `differed` [R, R] of them; and the same by each half of the things."""

    shared: np.ndarray
    differed: np.ndarray
    halves: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

    def figures(self, people: np.ndarray) -> list[float]:
        """two differ, of it in couples; of these people, who may stand there several times but are no couple with themselves."""
        two = np.ix_(people, people)
        apart = people[:, None] != people
        shared, differed = self.shared[two][apart], self.differed[two][apart]
        (n, one), (m, other) = (tuple(part[two][apart] for part in half) for half in self.halves)
        both = (n >= SHARED) & (m >= SHARED)
        persists = np.cov(one[both] / n[both], other[both] / m[both])[0, 1] if both.sum() > 1 else np.nan
        return [differed.sum() / max(shared.sum(), 1), np.sqrt(max(persists, 0)) if np.isfinite(persists) else np.nan]


def couples(crowd: Crowd, items: int, seed: int) -> Couples:
    people = int(crowd.rater.max()) + 1
    first = np.random.default_rng(np.random.SeedSequence([seed, 0x68616C])).permutation(items) < items / 2
    low, high = np.minimum(crowd.a, crowd.b), np.maximum(crowd.a, crowd.b)
    pair = np.unique(low * items + high, return_inverse=True)[1]
    said = np.where(crowd.a < crowd.b, 1, -1) * (2 * crowd.won - 1)

    def of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = csr_matrix((said[rows], (crowd.rater[rows], pair[rows])), shape=(people, int(pair.max()) + 1)).sign()
        shared = (abs(table) @ abs(table).T).toarray()
        return shared, (shared - (table @ table.T).toarray()) / 2

    halves = tuple(of((first[low] == half) & (first[high] == half)) for half in (True, False))
    return Couples(*of(np.ones(len(low), bool)), halves)


def checks(crowd: Crowd, worth: np.ndarray, seed: int) -> dict[str, list[float]]:
    """All checks of a crowd but the last, each [value, low, high]."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x63726F]))
    agree = agreements(crowd, worth)
    there = np.flatnonzero(np.isfinite(agree))
    share, known = wins(crowd, len(worth))
    two = couples(crowd, len(worth), seed)

    def figures(people: np.ndarray) -> list[float]:
        own, won, seen = agree[people], share[people], known[people]
        count = seen.sum(0)
        mean = (won * seen).sum(0) / np.maximum(count, 1)
        each = np.sqrt((((won - mean) ** 2) * seen).sum(0) / np.maximum(count, 1))
        return [own.mean(), own.std(), (own < 0.5).mean(), each[count > 1].mean(), *two.figures(people)]

    drawn = np.array([figures(there[rng.integers(len(there), size=len(there))]) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, [0.025, 0.975], 0)
    found = {name: [round(float(x), 4) for x in parts] for name, *parts in zip(CHECKS, figures(there), low, high)}
    return {name: values for name, values in found.items() if np.isfinite(values).all()}  # too few pairs in common say nothing


def rare_recall(unseen: np.ndarray, crowd: np.ndarray, seed: int) -> list[float]:
    """Share of the rarest tenth of `unseen` [R, k] that have one of `crowd` [S, k] as near as their fifth nearest neighbour: [value, low,
    high], the interval over the rare ones drawn again."""
    own = np.sort(np.linalg.norm(unseen[:, None] - unseen, axis=2), 1)[:, min(NEIGHBOURS, len(unseen) - 1)]
    rare = np.argsort(-own, kind="stable")[: max(1, int(np.ceil(RARE * len(unseen))))]
    found = (np.linalg.norm(unseen[rare, None] - crowd, axis=2).min(1) <= own[rare]).astype(float)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x726172]))
    drawn = found[rng.integers(len(found), size=(RESAMPLES, len(found)))].mean(1)
    return [round(float(x), 4) for x in (found.mean(), *np.quantile(drawn, [0.025, 0.975]))]


def bench_people(path: str, columns: dict[str, str], values: dict[str, float], within: str | None, seed: int) -> dict:
    """Rows by crowd: the checks, each [value, low, high] or absent. Raises UserError where unseen people are too few."""
    if holds_comparisons(path, columns):
        crowds, worth = _by_comparisons(path, columns, seed)
    else:
        crowds, worth = _by_ratings(path, columns, values, within, seed)
    rows = []
    for name, crowd in crowds.items():
        row: dict = {"crowd": name, "people": len(np.unique(crowd.rater))}
        if name != OTHERS:
            row |= checks(crowd, worth, seed)
        if name != UNSEEN and crowd.taste is not None:
            row[CHECKS[-1]] = rare_recall(crowds[UNSEEN].taste, crowd.taste, seed)
        rows.append(row)
    return {"file": path, "seed": seed, "rows": rows}


def _enough(path: str, people: int) -> None:
    if people < FEWEST:
        raise UserError(
            f"{path}: {people} unseen people (split unseen_support, unseen_query) are too few to be compared; {FEWEST} are needed"
        )


def _by_ratings(
    path: str, columns: dict[str, str], values: dict[str, float], within: str | None, seed: int
) -> tuple[dict[str, Crowd], np.ndarray]:  # fmt: skip
    table = read_table(path, columns, values, within)
    train, raters, items = table.ratings["train"], len(table.known), len(table.items)
    new, place = (_both(table.ratings, table.within, part) for part in (0, 1))
    known = np.isin(new.item, train.item)
    new, place, people = new.rows(np.flatnonzero(known)), place[known], len(table.unseen)
    _enough(path, people)
    kept = kept_back(train, seed)
    part, held = train.rows(np.flatnonzero(~kept)), train.rows(np.flatnonzero(kept))
    trials = {}
    for nu in STEADY:
        model = fit_items(part, raters, items, RANK, nu, STEPS, seed)
        trials[nu] = log_likelihood(model, infer_tastes(model, part, raters), held)
        log.info(f"  steadiness nu {nu:g}: {trials[nu]:.4f} nats a rating kept back of train")
    nu = max(trials, key=lambda nu: trials[nu])
    model = fit_items(train, raters, items, RANK, nu, seed=seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x747769]))
    grid, mixed = np.unique(train.value), raters_table.at_random(train, raters, seed)
    if len(grid) == 2:
        twins, tasteless, stranger = of_two_answers(train, mixed, part, held, new, (raters, items, people), rng, seed)
    else:
        random = fit_items(mixed, raters, items, RANK, nu, seed=seed)
        twins, tasteless, stranger = (drawn_ratings(one, new, people, grid, rng) for one in (model, nobody(model), random))
    ensemble = raters_table.ensemble(train, raters, items, seed)
    which, of_members = rng.integers(len(ensemble), size=people)[new.rater], new.value.copy()
    for number, member in enumerate(ensemble):
        mine = np.flatnonzero(which == number)
        of_members[mine] = drawn_ratings(member, new.rows(mine), people, grid, rng).value
    members = Ratings(new.rater, new.item, of_members)
    others = rng.permutation(raters)[:people]
    tastes = infer_tastes(model, train, raters).mean[others]

    def crowd(ratings: Ratings, taste: bool) -> Crowd:
        held = differing(ratings, place, 0.0)
        swap = rng.random(len(held.high)) < 0.5
        high, low = ratings.item[held.high], ratings.item[held.low]
        told = infer_tastes(model, ratings, people).mean if taste else None
        return Crowd(ratings.rater[held.high], np.where(swap, low, high), np.where(swap, high, low), np.where(swap, 0.0, 1.0), told)

    found = {UNSEEN: crowd(new, True), FICTITIOUS: crowd(twins, True), TASTELESS: crowd(tasteless, True)}
    found |= {ENSEMBLE: crowd(members, True), RANDOM_IDS: crowd(stranger, True)}
    return found | {OTHERS: replace(found[UNSEEN], rater=np.arange(len(others)), taste=tastes)}, model.mean


def _both(ratings: dict[str, Ratings], within: dict[str, np.ndarray], which: int):
    """All that unseen people rated, or what each was rated within."""
    names = ("unseen_support", "unseen_query")
    if which:
        return np.concatenate([within[name] for name in names])
    return Ratings(*(np.concatenate([getattr(ratings[name], part) for name in names]) for part in ("rater", "item", "value")))


def _by_comparisons(path: str, columns: dict[str, str], seed: int) -> tuple[dict[str, Crowd], np.ndarray]:
    parts, items, ids = read_comparisons(path, columns, seed)
    train, raters, people = parts["train"], len(ids["train"]), len(ids["unseen_support"])
    _enough(path, people)
    new = _joined(parts["unseen_support"], parts["unseen_query"])
    known = np.isin(new.a, [train.a, train.b]) & np.isin(new.b, [train.a, train.b]) & (new.won != 0.5)
    new = new.rows(np.flatnonzero(known))
    part, held = kept_apart(train, items, KEPT_ITEMS, seed)
    precision = best_precision(part, held, raters, items, TASTES, PRECISIONS, seed)
    model = fit_pairs(train, raters, items, TASTES, precision, seed=seed)
    alone = fit_pairs(train, raters, items, 0, PRECISIONS[0], False, seed=seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x747769]))
    random = fit_pairs(comparisons_table.at_random(train, raters, seed), raters, items, TASTES, precision, seed=seed)
    twins, tasteless, stranger = (drawn_comparisons(one, new, people, rng) for one in (model, alone, random))
    ensemble = comparisons_table.ensemble(train, raters, items, seed)
    which, won = rng.integers(len(ensemble), size=people)[new.rater], new.won.copy()
    for number, member in enumerate(ensemble):
        mine = np.flatnonzero(which == number)
        won[mine] = drawn_comparisons(member, new.rows(mine), people, rng).won
    members = replace(new, won=won)
    others = rng.permutation(raters)[:people]
    tastes = infer_people(model, train, raters).mean[others, 1:]

    def crowd(rows: Comparisons) -> Crowd:
        return Crowd(rows.rater, rows.a, rows.b, rows.won, infer_people(model, rows, people).mean[:, 1:])

    found = {
        UNSEEN: crowd(new),
        FICTITIOUS: crowd(twins),
        TASTELESS: crowd(tasteless),
        ENSEMBLE: crowd(members),
        RANDOM_IDS: crowd(stranger),
    }
    return found | {OTHERS: replace(found[UNSEEN], rater=np.arange(len(others)), taste=tastes)}, model.worth[:, 0]


def _joined(one: Comparisons, other: Comparisons) -> Comparisons:
    return Comparisons(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("rater", "a", "b", "won", "apart")))


def print_people(found: dict) -> None:
    """A row for each crowd."""
    told = lambda value: "{:.3f} [{:.3f}, {:.3f}]".format(*value) if value else ""  # noqa: E731
    rows = [[row["crowd"], str(row["people"]), *(told(row.get(name)) for name in CHECKS)] for row in found["rows"]]
    show_table(
        ["crowd", "people", *CHECKS], rows, ["crowd"], f"{found['file']}, seed {found['seed']}: a fictitious twin for each unseen person"
    )
