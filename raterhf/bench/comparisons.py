"""`raterhf bench raters` on comparisons: how well raters' held-back choices are told, and how much of that is care, habit, or taste.

A file of comparisons has `a` and `b` (items), and `label` (1: a, -1: b, 0: a tie), or `chosen` and `rejected`, which are put in an order
drawn by the seed. Where it has their texts (`a_text`, `b_text`) their length is read, as what raters have habits of; else no text is read.
Models are a ladder: nobody; raters' habits (of what stands first, of length); their care; their tastes. Ties are not told.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from raterhf.bench.raters import KNOWN, LABELS, NOBODY, ORDERS, SHUFFLED, SPLITS, UNSEEN, first_rows, require_columns
from raterhf.bench.told import Told, fit_scale, summary, together
from raterhf.data.files import read_rows
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.log import log
from raterhf.raters.pairs import Comparisons, PairModel, People, fit_pairs, infer_people, kept_apart, margins

TASTES = 8
KEPT_ITEMS = 0.2  # of what a rater compared, by which settings are chosen
PRECISIONS = (10.0, 40.0, 160.0)  # candidates of the loadings' prior
HABITS, CARE, ALL = "+ habits", "+ care", "+ tastes"


def holds_comparisons(path: str, columns: dict[str, str]) -> bool:
    """Whether a file has the columns of comparisons, and not those of ratings."""
    there = set(read_rows(path).frame)
    has = lambda *names: all(columns.get(name, name) in there for name in names)  # noqa: E731
    return (has("a", "b", "label") or has("chosen", "rejected")) and not has("item", "rating")


def read_comparisons(path: str, columns: dict[str, str], seed: int) -> tuple[dict[str, Comparisons], int, dict[str, int]]:
    """Comparisons by split, how many items, and how many raters are known and unseen. Raises UserError for a label that is none."""
    frame = read_rows(path).frame
    ordered = all(columns.get(name, name) in frame for name in ("a", "b", "label"))
    sides = ("a", "b") if ordered else ("chosen", "rejected")
    names = {name: columns.get(name, name) for name in ("rater_id", *sides, "split", *(["label"] if ordered else []))}
    require_columns(path, frame, list(names.values()))
    split = frame[names["split"]].to_numpy()
    if missing := [name for name in KNOWN if name not in split]:
        raise UserError(f"{path}: no row has split {missing[0]}; there are {', '.join(map(str, pd.unique(split)))}")
    frame = frame[np.isin(split, SPLITS)]
    split = frame[names["split"]].to_numpy()
    label = pd.to_numeric(frame[names["label"]], errors="coerce").to_numpy() if ordered else np.ones(len(frame))
    if (strange := ~np.isin(label, (-1, 0, 1))).any():
        row = frame.index[strange.argmax()]
        raise UserError(f"{path}, row {row + 1}: label {frame[names['label']][row]!r} is not 1 (a is better), -1 (b is) or 0 (a tie)")
    texts = [columns.get(name, name) for name in ("a_text", "b_text")]
    apart = np.zeros((len(frame), 0))
    if ordered and all(name in frame for name in texts):
        first, second = (np.log1p(frame[name].astype(str).str.len().to_numpy()) for name in texts)
        apart = (first - second)[:, None]
    index = pd.Index(pd.unique(pd.concat([frame[names[side]] for side in sides])))
    a, b = (index.get_indexer(frame[names[side]]) for side in sides)
    if not ordered:
        swap = np.random.default_rng(np.random.SeedSequence([seed, 0x73776170])).random(len(frame)) < 0.5
        a, b, label = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, -1.0, 1.0)
    found, counts = {}, {}
    for group in (KNOWN, UNSEEN):
        raters = pd.Index(frame[names["rater_id"]][np.isin(split, group)].unique())
        rater = raters.get_indexer(frame[names["rater_id"]])
        counts[group[0]] = len(raters)
        whole = Comparisons(rater, a, b, (label + 1) / 2, apart)
        found |= {name: whole.rows(np.flatnonzero(split == name)) for name in group}
    return found, len(index), counts


def tell_pairs(model: PairModel, people: People, held: Comparisons) -> Told:
    """What a model says of decided comparisons."""
    decided = held.rows(np.flatnonzero(held.won != 0.5))
    return Told(decided.rater, np.where(decided.won == 1, 1, -1) * margins(model, people, decided))


def strangers(rows: Comparisons, seed: int) -> Comparisons:
    """The control: who compared is permuted among all comparisons."""
    return Comparisons(np.random.default_rng(seed).permutation(rows.rater), rows.a, rows.b, rows.won, rows.apart)


def bench_comparisons(path: str, columns: dict[str, str], new_items: bool, seeds: int, seed: int) -> dict:
    """Rows of the table, by seed, as of `bench_raters`, and the ladder's steps as shares of the gain over nobody."""
    rows, steps = [], []
    for one in range(seed, seed + seeds):
        parts, items, counts = read_comparisons(path, columns, one)
        if not new_items:
            parts["unseen_query"] = _of_known_items(parts["unseen_query"], parts["train"])
        mine = list(_rows(parts, items, counts, one))
        rows += mine
        gains = {row["model"]: row["gain"] for row in mine if row["split"] == "test"}
        steps.append({"seed": one, "habits": gains[HABITS], "care": gains[CARE], "tastes": gains[ALL]})
    return {"file": path, "tastes": TASTES, "orders": ORDERS, "rows": rows, "ladder": steps}


def _of_known_items(query: Comparisons, train: Comparisons) -> Comparisons:
    known = np.isin(query.a, [train.a, train.b]) & np.isin(query.b, [train.a, train.b])
    if not known.all():
        log.info(f"  {(~known).sum()} of {len(known)} query pairs are of items that nobody compared in train, and are left out")
    return query.rows(np.flatnonzero(known))


def _rows(parts: dict[str, Comparisons], items: int, counts: dict[str, int], seed: int) -> Iterator[dict]:
    test, support, query = parts["test"], parts["unseen_support"], parts["unseen_query"]
    floors: dict[str, Told] = {}
    for name, model, people, scale, precision in _fits(parts["train"], counts["train"], items, seed):
        same = {"seed": seed, "model": name, "precision": precision}
        told = tell_pairs(model, people, test).scaled(scale)
        yield same | {"split": "test", **summary(told, floors.setdefault("test", told), seed)}
        if not len(query) or name not in (NOBODY, ALL):
            continue
        for count in LABELS if name != NOBODY else (0,):
            orders, new = ORDERS if count else 1, counts["unseen_support"]
            each = []
            for order in range(seed, seed + orders):
                known = support.rows(first_rows(support.rater, count, order))
                each.append(tell_pairs(model, infer_people(model, known, new), query))
            floor = floors.setdefault("unseen", each[0].scaled(scale))
            figures = summary(together(each).scaled(scale), together([floor] * orders), seed, orders)
            yield same | {"split": "unseen", "labels": count, **figures}


def _fits(train: Comparisons, raters: int, items: int, seed: int) -> Iterator[tuple[str, PairModel, People, float, float]]:
    """Name, model, what it knows of the known raters, scale and precision, the floor first; settings are chosen on a part of train."""
    part, held = kept_apart(train, items, KEPT_ITEMS, seed)
    nothing = train.rows(np.zeros(0, np.int64))

    def trial(known: bool, *settings) -> tuple[float, float]:
        model = fit_pairs(part, raters, items, *settings, seed=seed)
        told = tell_pairs(model, infer_people(model, part if known else nothing, raters), held)
        scale = fit_scale(told)
        return scale, -metrics.nll(scale * told.margin, np.ones(len(told.margin), np.int64))

    def whole(name: str, known: Comparisons, chosen: tuple, scale: float) -> tuple[str, PairModel, People, float, float]:
        model = fit_pairs(known if len(known) else train, raters, items, *chosen, seed=seed)
        return name, model, infer_people(model, known, raters), scale, chosen[1]

    alike, careful = (0, PRECISIONS[0], False), (0, PRECISIONS[0], True)
    yield whole(NOBODY, nothing, alike, trial(False, *alike)[0])
    yield whole(HABITS, train, alike, trial(True, *alike)[0])
    yield whole(CARE, train, careful, trial(True, *careful)[0])
    trials = {precision: trial(True, TASTES, precision) for precision in PRECISIONS}
    for precision, (_, nats) in trials.items():
        log.info(f"  precision {precision:g} of the loadings: {nats:.4f} nats a pair of comparisons kept back of train")
    best = max(trials, key=lambda precision: trials[precision][1])
    yield whole(ALL, train, (TASTES, best), trials[best][0])
    yield whole(SHUFFLED, strangers(train, seed), (TASTES, best), trials[best][0])
