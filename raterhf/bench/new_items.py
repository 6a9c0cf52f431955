"""`raterhf bench raters --text`: ratings of items that no rating was trained on, told apart by their text and by who rates.

Items are put into five folds; each fold's ratings are told by a factor model of the others, whose means and loadings text carries over
(`raters/item_texts.py`). Who rates are known people, by their ratings of the other folds. Beside that stand the text without the rater, and
with somebody else's taste. Scales of margins are those of the other folds.
"""

import numpy as np

from raterhf.bench.raters import FACTORS, NOBODY, UNKNOWNS, UNSEEN, differing, nobody, read_table, require_columns, tell
from raterhf.bench.told import Told, fit_scale, summary, together
from raterhf.data.files import read_rows
from raterhf.errors import UserError
from raterhf.evaluation.metrics.writing import style
from raterhf.models.encoder import encode
from raterhf.raters.item_texts import kernels, predict
from raterhf.raters.items import ItemModel, Ratings, Tastes, fit_items, infer_tastes

FOLDS = 5
LEAST = 25  # items to learn from what their texts say
OTHER = "somebody else's taste"


def bench_new_items(
    path: str, columns: dict[str, str], values: dict[str, float], text: str, encoder: str | None, margin: float, seed: int
) -> dict:  # fmt: skip
    """Rows as of `bench_raters`, with split `new items`. All ratings of known people count, whatever their split."""
    frame = read_rows(path).frame
    require_columns(path, frame, [text, columns.get("split", "split")])
    splits = [name for name in frame[columns.get("split", "split")].unique() if name not in UNSEEN]
    table = read_table(path, columns, values, None, known=tuple(splits))
    texts = frame.drop_duplicates(columns.get("item", "item")).set_index(columns.get("item", "item"))[text].astype(str)
    parts = [table.ratings[name] for name in splits]
    ratings = Ratings(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rater", "item", "value")))
    items, raters = len(table.items), len(table.known)
    if items < LEAST:
        raise UserError(f"{path}: {items} items are too few to learn what their texts say; give {LEAST} or more")
    said = list(texts.loc[table.items])
    kernel = kernels([style(said), *([encode(encoder, said)] if encoder else [])])
    fold = np.random.default_rng(np.random.SeedSequence([seed, 0x666F6C64])).permutation(items) % FOLDS
    told: dict[str, list[Told]] = {NOBODY: [], UNKNOWNS: [], OTHER: []}
    for one in range(FOLDS):
        back = fold[ratings.item] == one
        known, rows = ratings.rows(np.flatnonzero(~back)), ratings.rows(np.flatnonzero(back))
        model = fit_items(known, raters, items, FACTORS, seed=seed)
        tastes, held = infer_tastes(model, known, raters), differing(rows, np.zeros(len(rows), np.int64), margin)
        model = _by_text(model, kernel, np.flatnonzero(fold != one))
        other = np.random.default_rng(seed).permutation(raters)
        told[NOBODY].append(tell(nobody(model), tastes, held))
        told[UNKNOWNS].append(tell(model, tastes, held))
        told[OTHER].append(tell(model, Tastes(tastes.mean[other], tastes.covariance[other], tastes.steadiness[other]), held))
    scaled = {name: [part.scaled(fit_scale(together(_others(parts, i)))) for i, part in enumerate(parts)] for name, parts in told.items()}
    floor = together(scaled[NOBODY])
    same = {"seed": seed, "split": "new items", "margin": margin}
    return {"file": path, "rows": [same | {"model": name, **summary(together(parts), floor, seed)} for name, parts in scaled.items()]}


def _others(parts: list[Told], left_out: int) -> list[Told]:
    return [part for i, part in enumerate(parts) if i != left_out]


def _by_text(model: ItemModel, kernel: np.ndarray, rated: np.ndarray) -> ItemModel:
    """The model with means and loadings of all other items by their text."""
    mean, loading = model.mean.copy(), model.loading.copy()
    new = np.setdiff1d(np.arange(len(mean)), rated)
    mean[new] = predict(kernel, rated, model.mean[rated][:, None])[new, 0]
    loading[new] = predict(kernel, rated, model.loading[rated])[new]
    return ItemModel(mean, loading, model.noise, model.nu)
