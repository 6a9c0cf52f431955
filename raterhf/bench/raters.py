"""`raterhf bench raters`: how well raters' held-back ratings are told apart; the anchors that any model of raters must reach.

Rows of the file have a `split`: `train` and `test` are ratings of the same people, `unseen_support` and `unseen_query` of people who are in
no fit, and who are known by so many of their support ratings. What is told is which of two of a rater's held-back ratings is higher, for
every two that differ; a score that says nothing counts as half right.

No text is read here. Settings are chosen on a part of `train` alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

from raterhf.data.files import read_rows
from raterhf.data.numbers import read_numbers
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.raters.items import ItemModel, Ratings, Tastes, fit_items, infer_tastes, shuffled
from raterhf.terminal import show_table

RANK = 24  # of which the widths of the factors leave what the data bear
STEADY = (np.inf, 10.0)  # candidates of how alike raters are in care
FACTORS = 16  # of the plain factor model
NOBODY, SHUFFLED = "nobody", "IDs shuffled"
KEPT = 0.1  # of the train ratings, by which they are chosen
LABELS = (0, 1, 5, 10, 20, 40)
RESAMPLES = 1000
SPLITS = ("train", "test", "unseen_support", "unseen_query")


@dataclass(frozen=True)
class Counted:
    """A rater's pairs [R]: how many there are, how many were told right, and the sum of the log-probabilities of what was said."""

    pairs: np.ndarray
    right: np.ndarray
    log_prob: np.ndarray


def read_ratings(path: str, columns: dict[str, str], values: dict[str, float], within: str | None) -> dict[str, tuple[Ratings, np.ndarray]]:
    """Ratings by split, items numbered alike, raters within known and unseen ones; and what each was rated within [N].

    `columns` maps rater_id, item, rating and split to the file's names, `values` words to numbers. Raises UserError for a column that is
    missing and a rating that is no number.
    """
    frame = read_rows(path).frame
    names = {name: columns.get(name, name) for name in ("rater_id", "item", "rating", "split")}
    wanted = [*names.values(), *([within] if within else [])]
    if missing := [name for name in wanted if name not in frame]:
        raise UserError(f"{path}: no column {', '.join(missing)}; there are {', '.join(map(str, frame.columns))}: map names with --column")
    rated = frame[names["rating"]]
    numbers, faults = read_numbers(rated.map(lambda cell: values.get(cell, cell)))
    if faults:
        row, fault = next(iter(faults.items()))
        raise UserError(f"{path}, row {row + 1}: rating {rated.iloc[row]!r} {fault}; words are given numbers with --value")
    split = frame[names["split"]].to_numpy()
    if missing := [name for name in SPLITS[:2] if name not in split]:
        raise UserError(f"{path}: no row has split {missing[0]}; there are {', '.join(map(str, pd.unique(split)))}")
    chosen = np.isin(split, SPLITS)
    item = pd.factorize(frame[names["item"]].where(chosen))[0]
    place = pd.factorize(frame[within])[0] if within else np.zeros(len(frame), np.int64)
    found = {}
    for group in (SPLITS[:2], SPLITS[2:]):
        mine = np.isin(split, group)
        rater = pd.factorize(frame[names["rater_id"]].where(mine))[0]
        for name in group:
            rows = np.flatnonzero(split == name)
            found[name] = Ratings(rater[rows], item[rows], np.asarray(numbers, float)[rows]), place[rows]
    return found


def count_pairs(model: ItemModel, tastes: Tastes, held: Ratings, within: np.ndarray, margin: float, raters: int) -> Counted:
    """What the posteriors of raters say of every two of their held-back ratings that differ by more than `margin`."""
    order = np.lexsort((within, held.rater))
    key = held.rater[order] * (within.max(initial=0) + 1) + within[order]
    pairs, right, log_prob = (np.zeros(raters) for _ in range(3))
    for rows in np.split(order, np.flatnonzero(np.diff(key)) + 1):
        rater, item, value = held.rater[rows[0]], held.item[rows], held.value[rows]
        high, low = np.nonzero(value[:, None] - value[None] > margin)
        if not len(high):
            continue
        loading = model.loading[item]
        score = model.mean[item] + loading @ tastes.mean[rater]
        unsure = loading @ tastes.covariance[rater] @ loading.T
        noise = model.noise[item] / tastes.steadiness[rater]
        own = np.diag(unsure) + noise
        gap = score[high] - score[low]
        spread = np.sqrt(own[high] + own[low] - 2 * unsure[high, low])
        pairs[rater] += len(gap)
        right[rater] += (gap > 0).sum() + (gap == 0).sum() / 2
        log_prob[rater] += log_ndtr(gap / spread).sum()
    return Counted(pairs, right, log_prob)


def summary(counted: Counted, floor: Counted, seed: int) -> dict:
    """Accuracy, and gain over `floor`, each with the 95 % interval over raters drawn again (bootstrap), and nats a pair."""
    rng = np.random.default_rng(seed)
    there = np.flatnonzero(counted.pairs)
    drawn = rng.integers(len(there), size=(RESAMPLES, len(there)))
    pairs, right, lower = counted.pairs[there], counted.right[there], floor.right[there]

    def interval(hits: np.ndarray) -> list[float]:
        shares = hits[drawn].sum(1) / pairs[drawn].sum(1)
        return np.quantile(shares, [0.025, 0.975]).round(4).tolist()

    return {
        "accuracy": round(float(right.sum() / pairs.sum()), 4),
        "interval": interval(right),
        "gain": round(float((right - lower).sum() / pairs.sum()), 4),
        "gain_interval": interval(right - lower),
        "nats": round(float(counted.log_prob.sum() / pairs.sum()), 4),
        "raters": len(there),
        "pairs": int(pairs.sum()),
    }


def nobody(model: ItemModel) -> ItemModel:
    """Items' means alone: every rater is the average one, and what they differ by is noise."""
    spread = (model.loading**2).sum(1)
    return ItemModel(model.mean, np.zeros_like(model.loading), model.noise + spread, np.inf)


def choose(train: Ratings, within: np.ndarray, raters: int, items: int, seed: int) -> float:
    """How alike raters are in care, by the log-probability of ratings kept back of `train`."""
    kept = np.random.default_rng(np.random.SeedSequence([seed, 0x6B657074])).random(len(train)) < KEPT
    scores = {}
    for nu in STEADY:
        model = fit_items(train.rows(np.flatnonzero(~kept)), raters, items, RANK, nu, seed=seed)
        tastes = infer_tastes(model, train.rows(np.flatnonzero(~kept)), raters)
        held = train.rows(np.flatnonzero(kept))
        found = count_pairs(model, tastes, held, within[kept], 0.0, raters)
        scores[nu] = found.log_prob.sum() / found.pairs.sum()
        log.info(f"  steadiness nu {nu:g}: {scores[nu]:.4f} nats a pair of ratings kept back of train")
    return max(scores, key=lambda nu: scores[nu])


def first_ratings(ratings: Ratings, count: int, seed: int) -> Ratings:
    """Of each rater `count` ratings in an order drawn by the seed, the same for every count."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x66697273])).permutation(len(ratings))
    by_rater = order[np.argsort(ratings.rater[order], kind="stable")]
    rank = np.arange(len(by_rater)) - np.searchsorted(ratings.rater[by_rater], ratings.rater[by_rater])
    return ratings.rows(by_rater[rank < count])


def bench_raters(
    path: str, columns: dict[str, str], values: dict[str, float], within: str | None, margins: list[float], new_items: bool, seeds: int,
    seed: int,
) -> dict:  # fmt: skip
    """Rows of the table, by seed: split, margin, labels, model and figures. Everything a model has seen is in `train` or support rows.

    Without `new_items` what is asked of unseen people is of items that somebody rated in `train`.
    """
    read = read_ratings(path, columns, values, within)
    (train, places), (test, test_places) = read["train"], read["test"]
    (support, _), (query, query_places) = read["unseen_support"], read["unseen_query"]
    raters, items = int(max(train.rater.max(), test.rater.max())) + 1, int(max(part.item.max(initial=0) for part, _ in read.values())) + 1
    new = int(max(support.rater.max(initial=-1), query.rater.max(initial=-1))) + 1
    told = np.isin(support.item, train.item)  # of others nothing is known but that they are items
    support = support.rows(np.flatnonzero(told))
    if not new_items and not (known := np.isin(query.item, train.item)).all():
        log.info(f"  {(~known).sum()} of {len(query)} query ratings are of items that nobody rated in train, and are left out")
        query, query_places = query.rows(np.flatnonzero(known)), query_places[known]
    rows = []
    for one in range(seed, seed + seeds):
        nu = choose(train, places, raters, items, one)
        floor = None
        for name, model, known in _fits(train, raters, items, nu, one):
            floor = floor or model
            tastes, least = infer_tastes(model, known, raters), infer_tastes(floor, train, raters)
            for margin in margins:
                base = count_pairs(floor, least, test, test_places, margin, raters)
                found = count_pairs(model, tastes, test, test_places, margin, raters)
                rows.append({"seed": one, "model": name, "split": "test", "margin": margin, "nu": nu, **summary(found, base, one)})
            if not new or name == SHUFFLED:
                continue
            base = count_pairs(floor, infer_tastes(floor, support, new), query, query_places, 0.0, new)
            for count in LABELS if name != NOBODY else (0,):
                fitted = infer_tastes(model, first_ratings(support, count, one), new)
                found = count_pairs(model, fitted, query, query_places, 0.0, new)
                rows.append({"seed": one, "model": name, "split": "unseen", "labels": count, "nu": nu, **summary(found, base, one)})
    return {"file": path, "rank": RANK, "rows": rows}


def _fits(train: Ratings, raters: int, items: int, nu: float, seed: int) -> Iterator[tuple[str, ItemModel, Ratings]]:
    """Name, model, and what it knows of the known raters; the floor first."""
    factors = fit_items(train, raters, items, FACTORS, seed=seed)
    yield NOBODY, nobody(factors), train
    yield f"{FACTORS} factors", factors, train
    yield "raters as unknowns", fit_items(train, raters, items, RANK, nu, seed=seed), train
    strangers = shuffled(train, seed)
    yield SHUFFLED, fit_items(strangers, raters, items, RANK, nu, seed=seed), strangers


def print_raters(found: dict) -> None:
    """A table for each seed: accuracy and gain over nobody with their intervals, nats a pair."""
    for seed in dict.fromkeys(row["seed"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["seed"] == seed]
        cells = []
        for row in rows:
            what = f"difference > {row['margin']:g}" if row["split"] == "test" else f"after {row['labels']}"
            figures = ["{:.4f} [{:.4f}, {:.4f}]".format(row["accuracy"], *row["interval"])]
            figures += ["{:+.4f} [{:+.4f}, {:+.4f}]".format(row["gain"], *row["gain_interval"]), f"{row['nats']:.3f}"]
            cells.append([row["split"], what, row["model"], *figures, str(row["raters"])])
        title = f"{found['file']}, seed {seed}: two ratings of a person told apart [95 % over people], steadiness nu {rows[0]['nu']:g}"
        show_table(["split", "ratings", "model", "accuracy", "over nobody", "nats", "people"], cells, ["split", "ratings", "model"], title)
