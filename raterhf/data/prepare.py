"""A recipe's data -> rendered examples and index arrays that the stages train on.

Over-long examples are the one thing left out here, each counted for its rater, and only up to the recipe's `max_dropped`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.data.comparisons import ComparisonData
from raterhf.data.dropped import refuse_dropped
from raterhf.data.example import Example
from raterhf.data.labels import Labels, read_recipe
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.io import read_json, write_text
from raterhf.log import log
from raterhf.recipe import Recipe

MAX_GRADES = 8  # strengths of more values are read in quarters
HELD_OUT = "held_out.json"  # in a run folder: the comparisons kept from training


@dataclass(frozen=True)
class Roster:
    """Who is in the data: IDs of known raters and validation raters, in order, and the personas and groups of the known."""

    known: list[str]
    validate: list[str]
    personas: dict[str, list[str]]
    groups: dict[str, str]


def read_data(recipe: Recipe) -> Labels:
    """The recipe's data. Raises UserError, also, where they hold labels of somebody who was dropped from its run."""
    labels = read_recipe(recipe)
    labelled = pd.concat([labels.comparisons.rater_id, labels.demonstrations.rater_id]).unique()
    refuse_dropped(recipe.folder, labelled, recipe.data.files)
    return shuffle_raters(labels, recipe.seed) if recipe.data.shuffle_raters else labels


def shuffle_raters(labels: Labels, seed: int) -> Labels:
    """The control that keeps every answer and loses who gave it: IDs permuted among the rows of each prompt, within each split."""
    split = dict(zip(labels.raters.rater_id, labels.raters.split))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x73687566]))

    def permuted(frame: pd.DataFrame) -> pd.DataFrame:
        if frame.empty:
            return frame
        frame = frame.copy()
        keys = [frame.prompt.astype(str), frame.rater_id.map(split)]
        frame["rater_id"] = frame.groupby(keys)["rater_id"].transform(lambda ids: rng.permutation(ids.to_numpy()))
        return frame

    return Labels(permuted(labels.comparisons), permuted(labels.demonstrations), labels.raters, labels.counts, permuted(labels.ratings))


def find_people(labels: Labels) -> Roster:
    raters = labels.raters
    labelled = set(labels.comparisons.rater_id) | set(labels.demonstrations.rater_id)
    present = raters[raters.rater_id.isin(labelled)].sort_values("rater_id")
    train = present[present.split == "train"]
    personas: dict[str, list[str]] = {}
    for rater_id, persona in zip(train.rater_id, train.persona):
        if persona is not None:
            personas.setdefault(persona, []).append(rater_id)
    groups = {r: g for r, g in zip(train.rater_id, train.group) if g is not None}
    return Roster(list(train.rater_id), list(present[present.split == "validate"].rater_id), personas, groups)


class Window:
    """Renders rows, and leaves out and counts those that are too long, up to the share allowed."""

    def __init__(self, renderer: Renderer, max_dropped: float):
        self.renderer, self.max_dropped = renderer, max_dropped

    def keep(self, kind: str, frame: pd.DataFrame, texts: list[str], rater_texts: list[str]) -> np.ndarray:
        """Mask of the rows whose `texts` columns all fit. Raises UserError above the allowed share."""
        long = np.zeros(len(frame), bool)
        for column in texts:
            lengths = np.fromiter(self._lengths(kind, frame, column, rater_texts), np.int64, len(frame))
            long |= lengths > self.renderer.max_length
        if long.mean() > self.max_dropped:
            first = frame[long].iloc[0]
            raise UserError(
                f"{kind}: {long.sum()} of {len(frame)} examples are longer than the window of {self.renderer.max_length} tokens "
                f"(model.max_length), the first by rater {first.rater_id}: {str(first.prompt)[:60]!r}; raise model.max_length, "
                f"shorten them, or allow a share to be left out with data.max_dropped (now {self.max_dropped})"
            )
        if long.any():
            per_rater = Counter(frame.rater_id[long])
            worst = ", ".join(f"{rater} {n}" for rater, n in per_rater.most_common(5))
            log.warning(f"  {kind}: {long.sum()} of {len(frame)} over-long examples left out, of {len(per_rater)} raters (most: {worst})")
        return ~long

    def _lengths(self, kind: str, frame: pd.DataFrame, column: str, rater_texts: list[str]) -> Iterator[int]:
        """Tokens of each row; what cannot be rendered is an error that names the row, by its place among all of its kind."""
        for row, prompt, text, rater, rater_text in zip(frame.index, frame.prompt, frame[column], frame.rater_id, rater_texts):
            try:
                yield self.renderer.length(prompt, text, rater_text)
            except UserError as error:
                raise UserError(f"{kind}, row {row + 1} as read, by rater {rater}: {error}") from error

    def require(self, kind: str, rows: int) -> None:
        """Raise UserError where no row of a kind is left to train on."""
        if rows == 0:
            raise UserError(
                f"{kind}: nothing is left to train on; every example is longer than the window of {self.renderer.max_length} tokens "
                "(model.max_length): raise it, or shorten the texts"
            )


def comparison_data(labels: Labels, window: Window, ids: list[str], rater_text: dict[str, str]) -> ComparisonData:
    """Comparisons of the raters `ids`, whose position is their index."""
    frame = labels.comparisons
    if "strength" in frame:
        frame = frame.assign(grade=grades(frame.strength.where(frame.label != 0)))
    frame = frame[frame.rater_id.isin(set(ids))]
    if frame.empty:
        return ComparisonData.nothing()
    texts = [rater_text.get(r, "") for r in frame.rater_id]
    mask = window.keep("comparisons", frame, ["a", "b"], texts)
    frame, texts = frame[mask], [t for t, m in zip(texts, mask) if m]
    seen: dict[tuple, int] = {}
    examples: list[Example] = []

    def place(prompt: str | list, answer: str, text: str) -> int:
        key = (str(prompt), answer, text)
        if key not in seen:
            seen[key] = len(examples)
            examples.append(window.renderer.example(prompt, answer, text))
        return seen[key]

    a = np.array([place(p, y, t) for p, y, t in zip(frame.prompt, frame.a, texts)], np.int64)
    b = np.array([place(p, y, t) for p, y, t in zip(frame.prompt, frame.b, texts)], np.int64)
    index = {rater_id: i for i, rater_id in enumerate(ids)}
    group = pd.factorize(frame.prompt.astype(str))[0].astype(np.int64)
    grade = np.array(frame.grade, np.int64) if "grade" in frame else None
    return ComparisonData(examples, a, b, np.array(frame.label, np.int64), np.array(frame.rater_id.map(index), np.int64), group, grade)


def grades(strength: pd.Series) -> np.ndarray:
    """Grades from 0 of how much better [N], -1 where that is not said: the order of the strengths, or quarters of many."""
    values = np.unique(strength.dropna())
    if len(values) > MAX_GRADES:
        values = np.unique(np.quantile(strength.dropna(), [0, 0.25, 0.5, 0.75]))
    place = np.searchsorted(values, strength.fillna(-1), side="right") - 1
    return np.where(strength.isna(), -1, place).astype(np.int64)


def held_out_rows(known: ComparisonData, share: float, seed: int, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows kept back: whole (rater, pair) groups, so that no repeat of a training label is held out.

    Where `share` is not 0 neither is empty; but a single group is trained on.

    What is kept back stands in `folder`/held_out.json, bound by a digest to these comparisons, share and seed: whoever trains or measures
    on them, vanilla too, reads the same split. (With raters by text, whose examples are each rater's own, it is another.)
    """
    parts = (known.rater, known.a, known.b, np.array([share, seed]))
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]
    saved = folder / HELD_OUT if folder is not None else None
    if saved is not None and saved.is_file() and (found := read_json(saved)).get("digest") == digest:
        held = np.zeros(len(known), bool)
        held[found["rows"]] = True
        return np.flatnonzero(~held), np.flatnonzero(held)
    low, high = np.minimum(known.a, known.b), np.maximum(known.a, known.b)
    _, group = np.unique(np.stack([known.rater, low, high]), axis=1, return_inverse=True)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x68656C64]))
    drawn = rng.random(group.max() + 1)
    chosen = drawn < share
    if share > 0:  # few comparisons: one is left, and one is kept back where there is another
        chosen[drawn.argmin()] = True
        chosen[drawn.argmax()] = False
    held = chosen[group]
    if saved is not None:
        write_text(saved, json.dumps({"digest": digest, "rows": np.flatnonzero(held).tolist()}))
    return np.flatnonzero(~held), np.flatnonzero(held)


def imitated(labels: Labels, source: str) -> pd.DataFrame:
    """What imitation reads, `prompt, completion, rater_id`: raters' own answers, or (`chosen`) what they chose in comparisons."""
    if source != "chosen":
        return labels.demonstrations
    decided = labels.comparisons[labels.comparisons.label != 0]
    chosen = decided.a.where(decided.label == 1, decided.b)
    return pd.DataFrame({"prompt": decided.prompt, "completion": chosen, "rater_id": decided.rater_id})


def demonstration_data(
    labels: Labels, window: Window, ids: list[str], rater_text: dict[str, str], source: str
) -> tuple[list[Example], np.ndarray, pd.DataFrame]:
    """Raters' own answers (or what they chose in comparisons): examples [N], the raters' positions in `ids` [N], and the rows [N]."""
    frame = imitated(labels, source)
    frame = frame[frame.rater_id.isin(set(ids))]
    texts = [rater_text.get(r, "") for r in frame.rater_id]
    mask = window.keep("demonstrations", frame, ["completion"], texts)
    window.require("demonstrations", mask.sum())
    index = {rater_id: i for i, rater_id in enumerate(ids)}
    rows, told = frame[mask], [text for text, m in zip(texts, mask) if m]
    examples = [window.renderer.example(p, y, t) for p, y, t in zip(rows.prompt, rows.completion, told)]
    return examples, np.array([index[r] for r in rows.rater_id]), rows
