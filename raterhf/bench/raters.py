"""`raterhf bench raters`: how well raters' held-back ratings are told apart; the anchors that any model of raters must reach.

Rows of the file have a `split`: `train` and `test` are ratings of the same people, `unseen_support` and `unseen_query` of people who are in
no fit, and who are known by so many of their support ratings; which ones come first is drawn several times. What is told is which of two of
a rater's held-back ratings is higher, for every two that differ, or for the pairs that another file names.

No text is read here. Settings, and the scales by which margins become probabilities, are chosen on a part of `train` alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from raterhf.bench.rival_fits import GRIDS
from raterhf.bench.rival_tellers import (
    ENSEMBLE,
    RANDOM_IDS,
    Reading,
    in_mind,
    member_seeds,
    random_ids,
    resampled,
    rival_tellers,
    some_ids,
    wanted_among,
)
from raterhf.bench.rivals import Labels, tensors
from raterhf.bench.told import ORDERS, Teller, Told, fit_scale, table_rows
from raterhf.data.files import read_rows
from raterhf.data.numbers import read_numbers
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.log import log
from raterhf.raters.items import ItemModel, Ratings, Tastes, fit_items, infer_tastes, shuffled
from raterhf.terminal import show_table

RANK = 24  # of which the widths of the factors leave what the data bear
STEADY = (np.inf, 10.0)  # candidates of how alike raters are in care
FACTORS = 16  # of the plain factor model
NOBODY, PLAIN, UNKNOWNS, SHUFFLED = "nobody", f"{FACTORS} factors", "raters as unknowns", "IDs shuffled"
MODELS = (NOBODY, PLAIN, *GRIDS, ENSEMBLE, UNKNOWNS, SHUFFLED, RANDOM_IDS)
KEPT = 0.1  # of the train ratings, by which settings are chosen
SPLITS = ("train", "test", "unseen_support", "unseen_query")
KNOWN, UNSEEN = SPLITS[:2], SPLITS[2:]


@dataclass(frozen=True)
class Held:
    """Ratings to be told apart: `high` [P] and `low` [P] are rows of `ratings`, the higher and the lower of a rater's pair."""

    ratings: Ratings
    high: np.ndarray
    low: np.ndarray


@dataclass(frozen=True)
class Table:
    """Ratings by split and what each was rated within [N]; `items`, and raters of each group, are numbered by their place here."""

    ratings: dict[str, Ratings]
    within: dict[str, np.ndarray]
    items: pd.Index
    known: pd.Index
    unseen: pd.Index


def read_table(
    path: str, columns: dict[str, str], values: dict[str, float], within: str | None, known: tuple[str, ...] = KNOWN
) -> Table:  # fmt: skip
    """Ratings by split, items numbered alike, raters within known and unseen ones; `known` are the splits of known people.

    `columns` maps rater_id, item, rating and split to the file's names, `values` words to numbers. Raises UserError for a column that is
    missing and a rating that is no number.
    """
    frame = read_rows(path).frame
    names = {name: columns.get(name, name) for name in ("rater_id", "item", "rating", "split")}
    require_columns(path, frame, [*names.values(), *([within] if within else [])])
    rated = frame[names["rating"]]
    numbers, faults = read_numbers(rated.map(lambda cell: values.get(cell, cell)))
    if faults:
        row, fault = next(iter(faults.items()))
        raise UserError(f"{path}, row {row + 1}: rating {rated.iloc[row]!r} {fault}; words are given numbers with --value")
    split = frame[names["split"]].to_numpy()
    if missing := [name for name in known if name not in split]:
        raise UserError(f"{path}: no row has split {missing[0]}; there are {', '.join(map(str, pd.unique(split)))}")
    items = pd.Index(frame[names["item"]][np.isin(split, (*known, *UNSEEN))].unique())
    raters = {group: pd.Index(frame[names["rater_id"]][np.isin(split, group)].unique()) for group in (known, UNSEEN)}
    item = items.get_indexer(frame[names["item"]])
    place = pd.factorize(frame[within])[0] if within else np.zeros(len(frame), np.int64)
    ratings, places = {}, {}
    for group in (known, UNSEEN):
        rater = raters[group].get_indexer(frame[names["rater_id"]])
        for name in group:
            rows = np.flatnonzero(split == name)
            ratings[name], places[name] = Ratings(rater[rows], item[rows], np.asarray(numbers, float)[rows]), place[rows]
    return Table(ratings, places, items, raters[known], raters[UNSEEN])


def require_columns(path: str, frame: pd.DataFrame, names: list[str]) -> None:
    if missing := [name for name in names if name not in frame]:
        raise UserError(f"{path}: no column {', '.join(missing)}; there are {', '.join(map(str, frame.columns))}: map names with --column")


def differing(held: Ratings, within: np.ndarray, margin: float) -> Held:
    """Every two of a rater's ratings within the same thing that differ by more than `margin`."""
    order = np.lexsort((within, held.rater))
    key = held.rater[order] * (within.max(initial=0) + 1) + within[order]
    high, low = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows in np.split(order, np.flatnonzero(np.diff(key)) + 1):
        above, below = np.nonzero(held.value[rows][:, None] - held.value[rows][None] > margin)
        high.append(rows[above])
        low.append(rows[below])
    return Held(held, np.concatenate(high), np.concatenate(low))


def tell(model: ItemModel, tastes: Tastes, held: Held) -> Told:
    """What the posteriors of raters say of pairs: the gap between the two ratings in units of how unsure it is."""
    rater, item = held.ratings.rater, held.ratings.item
    loading = model.loading[item]
    score = model.mean[item] + (loading * tastes.mean[rater]).sum(1)
    factors = np.linalg.cholesky(tastes.covariance)
    unsure = (loading[:, None] @ factors[rater])[:, 0]  # whose squared distance is the variance that tastes leave
    noise = model.noise[item] / tastes.steadiness[rater]
    gap = score[held.high] - score[held.low]
    spread = ((unsure[held.high] - unsure[held.low]) ** 2).sum(1) + noise[held.high] + noise[held.low]
    return Told(rater[held.high], gap / np.sqrt(spread))


def nobody(model: ItemModel) -> ItemModel:
    """Items' means alone: every rater is the average one, and what they differ by is noise."""
    spread = (model.loading**2).sum(1)
    return ItemModel(model.mean, np.zeros_like(model.loading), model.noise + spread, np.inf)


def first_rows(rater: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of the first `count` of each rater's, in an order drawn by the seed, the same for every count."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x66697273])).permutation(len(rater))
    by_rater = order[np.argsort(rater[order], kind="stable")]
    rank = np.arange(len(by_rater)) - np.searchsorted(rater[by_rater], rater[by_rater])
    return by_rater[rank < count]


def read_pairs(path: str, columns: dict[str, str], table: Table) -> dict[str, Held]:
    """Pairs by split of another file, `chosen` and `rejected` being items of `table`, whose ratings are read there.

    Raises UserError for a pair whose two ratings the table does not have in that split.
    """
    frame = read_rows(path).frame
    names = {name: columns.get(name, name) for name in ("rater_id", "chosen", "rejected", "split")}
    require_columns(path, frame, list(names.values()))
    found = {}
    for name in SPLITS[1:]:
        part = frame[frame[names["split"]] == name]
        ratings, raters = table.ratings[name], table.known if name in KNOWN else table.unseen
        row_of = pd.Series(np.arange(len(ratings)), index=pd.MultiIndex.from_arrays([ratings.rater, ratings.item]))
        sides = []
        for side in ("chosen", "rejected"):
            at = pd.MultiIndex.from_arrays([raters.get_indexer(part[names["rater_id"]]), table.items.get_indexer(part[names[side]])])
            rows = row_of.reindex(at).to_numpy()
            if np.isnan(rows).any():
                first = part.index[np.flatnonzero(np.isnan(rows))[0]]
                raise UserError(f"{path}, row {first + 1}: there is no {name} rating of the {side} one by this rater; leave the pair out")
            sides.append(rows.astype(np.int64))
        found[name] = Held(ratings, *sides)
    return found


def bench_raters(
    path: str, columns: dict[str, str], values: dict[str, float], within: str | None, margins: list[float], new_items: bool, seeds: int,
    seed: int, pairs: str | None = None, models: Sequence[str] = (),
) -> dict:  # fmt: skip
    """Rows of the table, by seed: split, margin, labels, model and figures. Everything a model has seen is in `train` or support rows.

    Without `new_items` what is asked of unseen people is of items that somebody rated in `train`. With `pairs` the pairs of that file are
    told apart, and a label of an unseen person is such a pair, the ratings of both its sides. With `models` only these are beside nobody.
    """
    wanted = wanted_among(models, MODELS)
    table = read_table(path, columns, values, within)
    train, support = table.ratings["train"], table.ratings["unseen_support"]
    if pairs:
        given = read_pairs(pairs, columns, table)
        tests, query = {0.0: given["test"]}, given["unseen_query"]
    else:
        tests = {margin: differing(table.ratings["test"], table.within["test"], margin) for margin in margins}
        query = differing(table.ratings["unseen_query"], table.within["unseen_query"], 0.0)
    if not new_items:
        query = _of_known_items(query, train)

    def labels(count: int, order: int) -> Ratings:
        rows = first_rows(support.rater, count, order)
        if pairs:
            first = first_rows(support.rater[given["unseen_support"].high], count, order)
            rows = np.unique(np.concatenate([given["unseen_support"].high[first], given["unseen_support"].low[first]]))
        return support.rows(rows[np.isin(support.item[rows], train.item)])  # of others nothing is known but that they are items

    asked = [({"margin": margin}, test) for margin, test in tests.items()]
    rows: list[dict] = []
    for one in range(seed, seed + seeds):
        ids, new = [str(name) for name in table.known], len(table.unseen)
        tellers = _tellers(train, table.within["train"], ids, new, len(table.items), one, wanted)
        rows += table_rows(tellers, asked, query if len(query.high) else None, labels, one)
    return {"file": path, "rank": RANK, "orders": ORDERS, "rows": rows}


def _of_known_items(query: Held, train: Ratings) -> Held:
    known = np.isin(query.ratings.item, train.item)
    both = known[query.high] & known[query.low]
    if not both.all():
        log.info(f"  {(~both).sum()} of {len(both)} query pairs are of items that nobody rated in train, and are left out")
    return Held(query.ratings, query.high[both], query.low[both])


def _tellers(
    train: Ratings, within: np.ndarray, ids: list[str], new: int, items: int, seed: int, wanted: Callable[[str], bool]
) -> Iterator[Teller[Ratings, Held]]:  # fmt: skip
    """The models of the table that are wanted, the floor first; settings and scales are chosen on a part of train."""
    raters = len(ids)
    kept = kept_back(train, seed)
    part, back = train.rows(np.flatnonzero(~kept)), train.rows(np.flatnonzero(kept))
    asked = differing(back, within[kept], 0.0)

    def trial(model: ItemModel) -> tuple[float, float]:
        """Of a model that was fitted without what was kept back: the scale, and nats a pair there."""
        told = tell(model, infer_tastes(model, part, raters), asked)
        found = fit_scale(told)
        return found, -metrics.nll(found * told.margin, np.ones(len(told.margin), np.int64))

    def fit(ratings: Ratings, rank: int = RANK, nu: float = np.inf) -> ItemModel:
        return fit_items(ratings, raters, items, rank, nu, seed=seed)

    def teller(name: str, model: ItemModel, known: Ratings, scale: float, settings: dict, adapts: bool = True) -> Teller[Ratings, Held]:
        tastes = infer_tastes(model, known, raters)
        return Teller(
            name, scale, lambda held: tell(model, tastes, held),
            (lambda given, query: tell(model, infer_tastes(model, given, new), query)) if adapts else None, settings,
        )  # fmt: skip

    factors, partly = fit(train, FACTORS), fit(part, FACTORS)
    yield teller(NOBODY, nobody(factors), train, trial(nobody(partly))[0], {})
    if wanted(PLAIN):
        yield teller(PLAIN, factors, train, trial(partly)[0], {})
    yield from rival_tellers(_reading(nobody(partly)), _reading(nobody(factors)), part, back, asked, train, ids, new, items, seed, wanted)
    if wanted(ENSEMBLE):
        yield in_mind(ENSEMBLE, *(_members(ensemble(rows, raters, items, seed)) for rows in (train, part)), asked)
    if not any(map(wanted, (UNKNOWNS, SHUFFLED, RANDOM_IDS))):
        return
    trials = {nu: trial(fit(part, nu=nu)) for nu in STEADY}
    for nu, (_, nats) in trials.items():
        log.info(f"  steadiness nu {nu:g}: {nats:.4f} nats a pair of ratings kept back of train")
    nu = max(trials, key=lambda nu: trials[nu][1])
    if wanted(UNKNOWNS):
        yield teller(UNKNOWNS, fit(train, nu=nu), train, trials[nu][0], {"nu": nu})
    if wanted(SHUFFLED):
        yield teller(SHUFFLED, fit(shuffled(train, seed), nu=nu), shuffled(train, seed), trials[nu][0], {"nu": nu}, adapts=False)
    if wanted(RANDOM_IDS):
        mixed = [at_random(rows, raters, seed) for rows in (train, part)]
        yield in_mind(RANDOM_IDS, *(_strangers(fit(rows, nu=nu), rows, raters, seed) for rows in mixed), asked)


def kept_back(train: Ratings, seed: int) -> np.ndarray:
    """Which ratings [N] are kept back to choose settings by."""
    return np.random.default_rng(np.random.SeedSequence([seed, 0x6B657074])).random(len(train)) < KEPT


def _reading(floor: ItemModel) -> Reading[Ratings, Held]:
    """Ratings and pairs of them beside what nobody says, in units of what nobody leaves of them."""
    unit = np.sqrt(floor.noise.mean())
    mean = floor.mean / unit

    def labels(ratings: Ratings) -> Labels:
        rater, item, value, offset = tensors(ratings.rater, ratings.item, ratings.value / unit, mean[ratings.item])
        return Labels(rater, item, None, value, offset)

    def pairs(held: Held) -> tuple[Labels, np.ndarray]:
        rater, (a, b) = held.ratings.rater[held.high], (held.ratings.item[side] for side in (held.high, held.low))
        return Labels(*tensors(rater, a, b, np.ones(len(a)), mean[a] - mean[b])), np.ones(len(a))

    return Reading(labels, pairs)


def ensemble(ratings: Ratings, raters: int, items: int, seed: int) -> list[ItemModel]:
    """Items' means for nobody in particular, each by the ratings of as many raters drawn again."""
    found = []
    for rng in member_seeds(seed):
        rows, rater = resampled(ratings.rater, raters, rng)
        found.append(nobody(fit_items(Ratings(rater, ratings.item[rows], ratings.value[rows]), raters, items, 1, seed=seed)))
    return found


def at_random(ratings: Ratings, raters: int, seed: int) -> Ratings:
    """Each rating with the ID of a rater drawn at random."""
    return Ratings(random_ids(len(ratings), raters, seed), ratings.item, ratings.value)


def _members(models: list[ItemModel]) -> list[Callable[[Held], Told]]:
    def says(model: ItemModel, held: Held) -> Told:
        return tell(model, infer_tastes(model, held.ratings.rows(np.zeros(0, np.int64)), int(held.ratings.rater.max()) + 1), held)

    return [partial(says, model) for model in models]


def _strangers(model: ItemModel, ratings: Ratings, raters: int, seed: int) -> list[Callable[[Held], Told]]:
    """What some of the IDs say that ratings were given at random, whoever asks."""
    tastes = infer_tastes(model, ratings, raters)

    def says(stranger: int, held: Held) -> Told:
        one = np.full(int(held.ratings.rater.max()) + 1, stranger)
        return tell(model, Tastes(tastes.mean[one], tastes.covariance[one], tastes.steadiness[one]), held)

    return [partial(says, stranger) for stranger in some_ids(raters, seed)]


def print_raters(found: dict) -> None:
    """A table for each seed: accuracy and gain over nobody with their intervals, nats a pair, calibration error."""
    for seed in dict.fromkeys(row["seed"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["seed"] == seed]
        cells = []
        for row in rows:
            what = f"after {row['labels']}" if "labels" in row else f"difference > {row.get('margin', 0):g}"
            figures = ["{:.4f} [{:.4f}, {:.4f}]".format(row["accuracy"], *row["interval"])]
            figures += ["{:+.4f} [{:+.4f}, {:+.4f}]".format(row["gain"], *row["gain_interval"]), f"{row['nats']:.3f}", f"{row['ece']:.3f}"]
            cells.append([row["split"], what, row["model"], *figures, str(row["raters"])])
        columns = ["split", "labels", "model", "accuracy", "over nobody", "nats", "ECE", "people"]
        show_table(columns, cells, columns[:3], f"{found['file']}, seed {seed}: two things told apart for a person [95 % over people]")
    for step in found.get("ladder", []):
        shares = {name: step[name] / step["tastes"] if step["tastes"] else float("nan") for name in ("habits", "care")}
        log.info(
            f"  seed {step['seed']}: of the gain of {step['tastes']:+.4f} over nobody {shares['habits']:.0%} is there by raters' habits, "
            f"{shares['care']:.0%} with their care; the rest is taste"
        )
