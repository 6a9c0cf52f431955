"""`raterhf bench raters --search`: would other settings of raters as unknowns have been better than those that are used by default?

Every setting of a small grid is fitted twice: to a part of `train`, for what it costs to tell what was kept back, and to all of it, for its
accuracy on `test`. What is used by default looks at what was kept back alone; the best on `test` is looked up in hindsight, which no
default can do. Gains are over the default, on the same pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raterhf.bench.comparisons import KEPT_ITEMS, PRECISIONS, TASTES, holds_comparisons, read_comparisons, tell_pairs
from raterhf.bench.raters import RANK, STEADY, Held, Table, differing, kept_back, read_pairs, read_table, tell
from raterhf.bench.told import Told, fit_scale, summary
from raterhf.evaluation import metrics
from raterhf.log import log
from raterhf.raters.items import Ratings, fit_items, infer_tastes
from raterhf.raters.pairs import Comparisons, fit_pairs, infer_people, kept_apart
from raterhf.terminal import show_table

RANKS, NUS = (4, 8, 16, 24, 32), (np.inf, 10.0, 4.0)
MANY, WIDTHS = (1, 2, 4, 8, 16), (2.5, 10.0, 40.0, 160.0)


@dataclass(frozen=True)
class Tried:
    """A setting: whether it is one of those that the default chooses among, nats a pair kept back, and what it says of `test`."""

    settings: dict
    candidate: bool
    nats: float
    told: Told


def search(
    path: str, columns: dict[str, str], values: dict[str, float], within: str | None, margin: float, pairs: str | None, seed: int
) -> dict:  # fmt: skip
    """Rows by setting, the best on what was kept back first: nats a pair there, figures on `test`, and which is the default."""
    if holds_comparisons(path, columns):
        parts, items, ids = read_comparisons(path, columns, seed)
        tried = list(_by_comparisons(parts["train"], parts["test"], len(ids["train"]), items, seed))
    else:
        table = read_table(path, columns, values, within)
        test = read_pairs(pairs, columns, table)["test"] if pairs else differing(table.ratings["test"], table.within["test"], margin)
        tried = list(_by_ratings(table, test, seed))
    tried.sort(key=lambda one: -one.nats)
    default = next(one for one in tried if one.candidate)
    rows = [
        {"settings": one.settings, "default": one is default, "kept_back": round(one.nats, 4), **summary(one.told, default.told, seed)}
        for one in tried
    ]
    return {"file": path, "seed": seed, "rows": rows}


def _tried(settings: dict, candidate: bool, part: Told, test: Told) -> Tried:
    scale = fit_scale(part)
    nats = -float(metrics.nll(scale * part.margin, np.ones(len(part.margin), np.int64)))
    log.info(f"  {', '.join(f'{name} {value:g}' for name, value in settings.items())}: {nats:.4f} nats a pair kept back of train")
    return Tried(settings, candidate, nats, test.scaled(scale))


def _by_ratings(table: Table, test: Held, seed: int) -> Iterator[Tried]:
    train, raters, items = table.ratings["train"], len(table.known), len(table.items)
    back = kept_back(train, seed)
    part = train.rows(np.flatnonzero(~back))
    held = differing(train.rows(np.flatnonzero(back)), table.within["train"][back], 0.0)

    def told(ratings: Ratings, asked: Held, rank: int, nu: float) -> Told:
        model = fit_items(ratings, raters, items, rank, nu, seed=seed)
        return tell(model, infer_tastes(model, ratings, raters), asked)

    for rank in sorted({*RANKS, RANK}):
        for nu in dict.fromkeys((*NUS, *STEADY)):
            candidate = rank == RANK and nu in STEADY
            yield _tried({"rank": rank, "nu": nu}, candidate, told(part, held, rank, nu), told(train, test, rank, nu))


def _by_comparisons(train: Comparisons, test: Comparisons, raters: int, items: int, seed: int) -> Iterator[Tried]:
    part, held = kept_apart(train, items, KEPT_ITEMS, seed)

    def told(rows: Comparisons, asked: Comparisons, tastes: int, precision: float) -> Told:
        model = fit_pairs(rows, raters, items, tastes, precision, seed=seed)
        return tell_pairs(model, infer_people(model, rows, raters), asked)

    for tastes in sorted({*MANY, TASTES}):
        for precision in sorted({*WIDTHS, *PRECISIONS}):
            candidate = tastes == TASTES and precision in PRECISIONS
            settings = {"tastes": tastes, "precision": precision}
            yield _tried(settings, candidate, told(part, held, tastes, precision), told(train, test, tastes, precision))


def print_search(found: dict) -> None:
    """A row for each setting; then how far the default is from the best, by what was kept back and in hindsight."""
    rows, default = found["rows"], next(row for row in found["rows"] if row["default"])
    best = max(rows, key=lambda row: row["accuracy"])
    cells = []
    for row in rows:
        marks = [name for name, there in (("default", row is default), ("best on test", row is best)) if there]
        figures = ["{:.4f} [{:.4f}, {:.4f}]".format(row["accuracy"], *row["interval"])]
        figures += ["{:+.4f} [{:+.4f}, {:+.4f}]".format(row["gain"], *row["gain_interval"])]
        cells.append([*(f"{value:g}" for value in row["settings"].values()), f"{row['kept_back']:.4f}", *figures, ", ".join(marks)])
    columns = [*rows[0]["settings"], "nats, kept back", "accuracy, test", "over the default", ""]
    title = f"{found['file']}, seed {found['seed']}: raters as unknowns by other settings [95 % over {default['raters']} people]"
    show_table(columns, cells, [*columns[:2], ""], title)
    log.info(
        f"  the default is {rows[0]['gain']:+.4f} from the best on what was kept back, and {best['gain']:+.4f} from the best on test, in "
        "hindsight"
    )
