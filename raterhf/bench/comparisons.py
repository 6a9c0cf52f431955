"""`raterhf bench raters` on comparisons: how well raters' held-back choices are told, and how much of that is care, habit, or taste.

A file of comparisons has `a` and `b` (items), and `label` (1: a, -1: b, 0: a tie), or `chosen` and `rejected`, which are put in an order
drawn by the seed. Where it has their texts (`a_text`, `b_text`) their length is read, as what raters have habits of; else no text is read.
Models are a ladder: nobody; raters' habits (of what stands first, of length); their care; their tastes. Ties are not told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd

from raterhf.bench.raters import KNOWN, NOBODY, SHUFFLED, SPLITS, UNSEEN, first_rows, require_columns
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
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.log import log
from raterhf.raters.pairs import Comparisons, PairModel, People, fit_pairs, infer_people, kept_apart, margins

TASTES = 8
KEPT_ITEMS = 0.2  # of what a rater compared, by which settings are chosen
PRECISIONS = (10.0, 40.0, 160.0)  # candidates of the loadings' prior
HABITS, CARE, ALL = "+ habits", "+ care", "+ tastes"
MODELS = (NOBODY, *GRIDS, HABITS, CARE, ENSEMBLE, ALL, SHUFFLED, RANDOM_IDS)


def holds_comparisons(path: str, columns: dict[str, str]) -> bool:
    """Whether a file has the columns of comparisons, and not those of ratings."""
    there = set(read_rows(path).frame)
    has = lambda *names: all(columns.get(name, name) in there for name in names)  # noqa: E731
    return (has("a", "b", "label") or has("chosen", "rejected")) and not has("item", "rating")


def read_comparisons(path: str, columns: dict[str, str], seed: int) -> tuple[dict[str, Comparisons], int, dict[str, list[str]]]:
    """Comparisons by split, how many items, and the IDs of known (`train`) and of unseen raters (`unseen_support`).

    Raises UserError for a label that is none.
    """
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
    found, ids = {}, {}
    for group in (KNOWN, UNSEEN):
        raters = pd.Index(frame[names["rater_id"]][np.isin(split, group)].unique())
        rater = raters.get_indexer(frame[names["rater_id"]])
        ids[group[0]] = [str(name) for name in raters]
        whole = Comparisons(rater, a, b, (label + 1) / 2, apart)
        found |= {name: whole.rows(np.flatnonzero(split == name)) for name in group}
    return found, len(index), ids


def tell_pairs(model: PairModel, people: People, held: Comparisons) -> Told:
    """What a model says of decided comparisons."""
    decided = held.rows(np.flatnonzero(held.won != 0.5))
    return Told(decided.rater, np.where(decided.won == 1, 1, -1) * margins(model, people, decided))


def strangers(rows: Comparisons, seed: int) -> Comparisons:
    """The control: who compared is permuted among all comparisons."""
    return Comparisons(np.random.default_rng(seed).permutation(rows.rater), rows.a, rows.b, rows.won, rows.apart)


def bench_comparisons(
    path: str, columns: dict[str, str], new_items: bool, seeds: int, seed: int, models: Sequence[str] = ()
) -> dict:  # fmt: skip
    """Rows of the table, by seed, as of `bench_raters`, and the ladder's steps as shares of the gain over nobody, where all are there."""
    rows, steps = [], []
    for one in range(seed, seed + seeds):
        parts, items, ids = read_comparisons(path, columns, one)
        if not new_items:
            parts["unseen_query"] = _of_known_items(parts["unseen_query"], parts["train"])
        found = bench_parts(parts, items, ids, one, models)
        rows += found["rows"]
        steps += found["ladder"]
    return {"file": path, "tastes": TASTES, "orders": ORDERS, "rows": rows, "ladder": steps}


def bench_parts(
    parts: dict[str, Comparisons], items: int, ids: dict[str, list[str]], seed: int, models: Sequence[str],
    more: Sequence[Teller[Comparisons, Comparisons]] = (),
) -> dict:  # fmt: skip
    """`rows` and `ladder` of one seed, with `models` of these alone; `more` are models that are fitted already."""
    wanted = wanted_among(models, MODELS)
    query, support = parts["unseen_query"], parts["unseen_support"]
    query = query.rows(np.flatnonzero(query.won != 0.5))
    rows = list(
        table_rows(
            chain(_tellers(parts["train"], ids, items, seed, wanted), more), [({}, parts["test"])], query if len(query) else None,
            lambda count, order: support.rows(first_rows(support.rater, count, order)), seed,
        )
    )  # fmt: skip
    gains = {row["model"]: row["gain"] for row in rows if row["split"] == "test"}
    steps = {"habits": HABITS, "care": CARE, "tastes": ALL}
    there = all(name in gains for name in steps.values())
    return {"rows": rows, "ladder": [{"seed": seed} | {step: gains[name] for step, name in steps.items()}] if there else []}


def _of_known_items(query: Comparisons, train: Comparisons) -> Comparisons:
    known = np.isin(query.a, [train.a, train.b]) & np.isin(query.b, [train.a, train.b])
    if not known.all():
        log.info(f"  {(~known).sum()} of {len(known)} query pairs are of items that nobody compared in train, and are left out")
    return query.rows(np.flatnonzero(known))


def _tellers(
    train: Comparisons, ids: dict[str, list[str]], items: int, seed: int, wanted: Callable[[str], bool]
) -> Iterator[Teller[Comparisons, Comparisons]]:  # fmt: skip
    """The ladder with its rivals and controls, as far as wanted, the floor first; settings and scales are chosen on a part of train."""
    part, held = kept_apart(train, items, KEPT_ITEMS, seed)
    nothing, raters, new = train.rows(np.zeros(0, np.int64)), len(ids["train"]), len(ids["unseen_support"])

    def trial(known: bool, *settings) -> tuple[float, float]:
        model = fit_pairs(part, raters, items, *settings, seed=seed)
        told = tell_pairs(model, infer_people(model, part if known else nothing, raters), held)
        scale = fit_scale(told)
        return scale, -metrics.nll(scale * told.margin, np.ones(len(told.margin), np.int64))

    def whole(name: str, known: Comparisons, chosen: tuple, scale: float, adapts: bool = False) -> Teller[Comparisons, Comparisons]:
        model = fit_pairs(known if len(known) else train, raters, items, *chosen, seed=seed)
        people = infer_people(model, known, raters)
        return Teller(
            name, scale, lambda asked: tell_pairs(model, people, asked),
            (lambda given, query: tell_pairs(model, infer_people(model, given, new), query)) if adapts else None,
            {"precision": chosen[1]} if chosen[0] else {},
        )  # fmt: skip

    def floor(rows: Comparisons) -> Reading[Comparisons, Comparisons]:
        model = fit_pairs(rows, raters, items, *alike, seed=seed)
        return _reading(model, infer_people(model, nothing, raters))

    alike, careful = (0, PRECISIONS[0], False), (0, PRECISIONS[0], True)
    yield whole(NOBODY, nothing, alike, trial(False, *alike)[0], adapts=True)
    yield from rival_tellers(floor(part), floor(train), part, held, held, train, ids["train"], new, items, seed, wanted)
    for name, settings in ((HABITS, alike), (CARE, careful)):
        if wanted(name):
            yield whole(name, train, settings, trial(True, *settings)[0])
    if wanted(ENSEMBLE):
        yield in_mind(ENSEMBLE, *(_members(ensemble(rows, raters, items, seed), nothing) for rows in (train, part)), held)
    if not any(map(wanted, (ALL, SHUFFLED, RANDOM_IDS))):
        return
    trials = {precision: trial(True, TASTES, precision) for precision in PRECISIONS}
    for precision, (_, nats) in trials.items():
        log.info(f"  precision {precision:g} of the loadings: {nats:.4f} nats a pair of comparisons kept back of train")
    best = max(trials, key=lambda precision: trials[precision][1])
    if wanted(ALL):
        yield whole(ALL, train, (TASTES, best), trials[best][0], adapts=True)
    if wanted(SHUFFLED):
        yield whole(SHUFFLED, strangers(train, seed), (TASTES, best), trials[best][0])
    if not wanted(RANDOM_IDS):
        return
    mixed = [at_random(rows, raters, seed) for rows in (train, part)]
    fits = [fit_pairs(rows, raters, items, TASTES, best, seed=seed) for rows in mixed]
    yield in_mind(RANDOM_IDS, *(_strangers(model, rows, raters, seed) for model, rows in zip(fits, mixed)), held)


def _reading(model: PairModel, people: People) -> Reading[Comparisons, Comparisons]:
    """Comparisons beside the log-odds of nobody in particular."""

    def labels(rows: Comparisons) -> Labels:
        return Labels(
            *tensors(rows.rater, rows.a, rows.b, rows.won, margins(model, people, replace(rows, rater=np.zeros_like(rows.rater))))
        )

    def pairs(rows: Comparisons) -> tuple[Labels, np.ndarray]:
        decided = rows.rows(np.flatnonzero(rows.won != 0.5))
        return labels(decided), np.where(decided.won == 1, 1, -1)

    return Reading(labels, pairs)


def ensemble(rows: Comparisons, raters: int, items: int, seed: int) -> list[PairModel]:
    """What everybody values, each by the comparisons of as many raters drawn again."""
    found = []
    for rng in member_seeds(seed):
        again, rater = resampled(rows.rater, raters, rng)
        found.append(fit_pairs(replace(rows.rows(again), rater=rater), raters, items, 0, PRECISIONS[0], False, seed=seed))
    return found


def at_random(rows: Comparisons, raters: int, seed: int) -> Comparisons:
    """Each comparison with the ID of a rater drawn at random."""
    return replace(rows, rater=random_ids(len(rows), raters, seed))


def _members(models: list[PairModel], nothing: Comparisons) -> list[Callable[[Comparisons], Told]]:
    def says(model: PairModel, asked: Comparisons) -> Told:
        return tell_pairs(model, infer_people(model, nothing, int(asked.rater.max()) + 1), asked)

    return [partial(says, model) for model in models]


def _strangers(model: PairModel, rows: Comparisons, raters: int, seed: int) -> list[Callable[[Comparisons], Told]]:
    """What some of the IDs say that comparisons were given at random, whoever asks."""
    people = infer_people(model, rows, raters)

    def says(stranger: int, asked: Comparisons) -> Told:
        one = np.full(int(asked.rater.max()) + 1, stranger)
        return tell_pairs(model, People(people.mean[one], people.covariance[one]), asked)

    return [partial(says, stranger) for stranger in some_ids(raters, seed)]
