"""Reads users' rater-labelled data: comparisons, ratings, demonstrations and raters; the one place that does.

Whatever the file and its form, what comes out is one `Labels`. Comparisons are `a, b, label` (1: a preferred,
-1: b, 0: a tie), where chosen and rejected became a and b with label 1, and ratings became pairs of one
rater's different ratings on one prompt. Prompts are text or a list of {"role", "content"} messages, answers
always text. A bad row is an error that names it, or, as far as a share of them is allowed, left out and counted
for its rater; nothing goes uncounted. Nothing here tokenises; `prepare.py` finds over-long examples.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.data import checks, notices
from raterhf.data.checks import Problems
from raterhf.data.columns import check_columns, check_mapped, read_parts
from raterhf.data.meaning import Meanings, read_meaning
from raterhf.data.normalise import COLUMNS, keys, normalise, objects, optional_names, pair_ratings
from raterhf.data.numbers import read_numbers
from raterhf.data.odd_texts import about_texts
from raterhf.data.schema import DATA_KINDS, NAMES, Part, Request
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.recipe import DataSettings, Recipe
from raterhf.worlds.make import require_made

Paths = str | PathLike | Iterable[str | PathLike] | None

QUICK = 10_000_000
"""Bytes of data that are read within a second."""

RULES = {
    "prompt": checks.prompt_fault,
    **dict.fromkeys(("chosen", "rejected", "a", "b", "response", "completion"), checks.answer_fault),
    "rater_id": checks.rater_fault,
    **dict.fromkeys(("group", "persona", "attribute"), checks.optional_name_fault),
    "within": checks.sitting_fault,
    **dict.fromkeys(("reason", "source_a", "source_b", "source"), checks.optional_text_fault),
}


@dataclass(frozen=True)
class Labels:
    """What raters answered and preferred. Text columns are objects (str or None), indices 0..n-1; an absent kind has no rows.

    comparisons: prompt, a, b, label (int 1, -1 or 0), rater_id; file, split, sided, source_a, source_b (see `CARRIED` of normalise.py); and
        where files say them strength (above 0, NaN where not said), both ("good" or "bad", of ties), attribute, reason
    demonstrations: prompt, completion, rater_id; file, split
    raters: rater_id, persona, group, split ("train" or "validate"), sorted; everyone labelled or listed
    ratings: prompt, response, rating, rater_id; file, split; what the pairs among the comparisons were made of
    counts: JSON-like; all that was read, used, made, left out or noticed; `notices` are sentences for people
    """

    comparisons: pd.DataFrame
    demonstrations: pd.DataFrame
    raters: pd.DataFrame
    counts: dict
    ratings: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_labels(
    comparisons: Paths = None,
    ratings: Paths = None,
    demonstrations: Paths = None,
    raters: Paths = None,
    *,
    columns: dict[str, str] | None = None,
    split: str | Iterable[str] | None = None,
    group_column: str | None = None,
    validate_share: float = 0.0,
    seed: int = 0,
    max_bad: float = 0.0,
    one_rater: bool = False,
    labels: Meanings = None,
    within: str | None = None,
    preset: str | None = None,
    prefix_raters: str | None = None,
    pairs_per_rater: int | None = None,
) -> Labels:
    """Read, check and normalise. Each kind is a file, several, or None.

    `columns` maps our names to the files' (see `columns.py`). `split` takes only the data rows whose `split`
    column has that value, or one of several. `group_column` is the data column of the rater's group. Without
    a `split` column in the raters file, about `validate_share` of the labelled raters (at least one where it
    is not 0) are "validate", by a hash of seed and ID: a rater's part does not change with the rows read. Of the
    data rows up to a share of `max_bad` may be bad. Labels of `one_rater` are enough only for models that know no
    raters; then a file need not say who judged. `labels` says what the values of `label` mean (see `meaning.py`). Ratings are paired
    only `within` one value of that column. `preset` is the tool whose exports the data files are (see `convert`), for files that do not
    show it by their columns. With `prefix_raters` "file" a rater of one file is nobody in another. Of a rater's ratings at most
    `pairs_per_rater` pairs are made, drawn by the seed.
    Raises UserError, which names file, row and remedy.
    """
    if not 0 <= validate_share < 1:
        raise UserError(f"validate_share is {validate_share}; it is a share, from 0 to below 1: correct it")
    paths = dict(zip(NAMES, map(_list, (comparisons, ratings, demonstrations, raters))))
    if prefix_raters not in (None, "file"):
        raise UserError(f"prefix_raters is {prefix_raters!r}; it is file, or left out")
    request = Request(
        paths, dict(columns or {}), tuple(_list(split)) or None, group_column, within, preset, prefix_raters == "file", one_rater
    )
    counts: dict = {kind: {} for kind in NAMES}
    data, listed, told = _read(request, labels, max_bad, counts)

    pairs = pair_ratings(data["ratings"], counts["ratings"], pairs_per_rater, seed)
    compared = _together(data["comparisons"].drop(columns="group"), pairs)
    shown = data["demonstrations"].drop(columns="group")
    counts["comparisons"] |= {
        "with_pairs_of_ratings": len(compared),
        "ties": int((compared["label"] == 0).sum()),
        "ties_of_equal_answers": int((compared["a"] == compared["b"]).sum()),
        "duplicates": _duplicates(compared[COLUMNS["comparisons"]]),
    }
    if "both" in compared:
        counts["comparisons"] |= {f"both_{word}": int((compared["both"] == word).sum()) for word in ("good", "bad")}
    counts["demonstrations"]["duplicates"] = _duplicates(shown[COLUMNS["demonstrations"]])
    labelled = pd.concat([compared["rater_id"], shown["rater_id"]]).value_counts()
    if len(labelled) < 2 and not one_rater:
        files = ", ".join(path for kind in DATA_KINDS for path in paths[kind])
        raise UserError(
            f"{files}: rater {labelled.index[0]!r} gave all labels that can be used; a population needs at least two raters: "
            "add others' labels or correct rater_id (to train without raters on such data: raters.encoding=none)"
        )
    groups = _groups(data, counts["raters"]) if group_column else {}
    people = _raters(labelled, listed, groups, validate_share, seed, counts["raters"])
    bad = {rater for raters in counts["dropped"].values() for rater in raters}
    counts["raters"]["accounted"] = notices.account(counts, set(labelled.index), bad)
    counts["notices"] = [
        *told, *notices.about_pairs(counts["ratings"]), *notices.about_strength(compared), *notices.about_attributes(compared),
        *notices.about_files(compared),
        *notices.about_files(shown), *notices.about_raters(counts["raters"]["accounted"], counts["raters"]["labelled_without_row"]),
        *notices.about_validation(people),
    ]  # fmt: skip
    return Labels(compared, shown, people, counts, data["ratings"])


def _together(compared: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Comparisons and the pairs made of ratings; what only one of them has is None (strength NaN) in the other."""
    if pairs.empty or compared.empty:
        return compared if pairs.empty else pairs.astype({"label": "int64"})
    whole = pd.concat([compared, pairs], ignore_index=True)
    for name in (set(compared.columns) ^ set(pairs.columns)) - {"strength"}:
        whole[name] = optional_names(whole[name])
    return whole


def read_recipe(recipe: Recipe) -> Labels:
    """The data of a recipe, as all its stages and `raterhf data check` read them; says how many rows were left out."""
    labels = labels_of(recipe)
    for file, raters in labels.counts["dropped"].items():
        worst = ", ".join(f"{rater} {n}" for rater, n in Counter(raters).most_common(5))
        log.warning(f"  {file}: {sum(raters.values())} bad row(s) left out, of {len(raters)} rater(s) (most: {worst})")
    return labels


def check_recipe(recipe: Recipe) -> None:
    """Raise UserError for what is wrong with a recipe's labels, before what trains is imported; files that take long to read are left to
    training."""
    files = [Path(path) for path in recipe.data.files]
    if set(recipe.stages) - {"base"} and all(file.is_file() for file in files) and sum(file.stat().st_size for file in files) < QUICK:
        labels_of(recipe)


def labels_of(recipe: Recipe) -> Labels:
    """As `read_recipe`, and nothing is said: it stands in the counts."""
    data = recipe.data
    require_made(data.world, data.files)
    return read_labels(
        data.comparisons, data.ratings, data.demonstrations, data.raters, columns=data.columns, split=data.split,
        group_column=data.group_column, validate_share=data.validate_share, seed=recipe.seed, max_bad=data.max_bad,
        one_rater=recipe.raters.encoding == "none", **said_of_files(data),
    )  # fmt: skip


def statements_of(recipe: Recipe, values: dict[str, float] | None = None) -> tuple[dict[str, pd.DataFrame], dict]:
    """The rows of a recipe's data by kind, in one form, ratings as they were given and not as pairs; and the counts of their reading.

    `values` are words among the ratings and the numbers they stand for. One rater is enough. Raises UserError as `read_labels` does.
    """
    data = recipe.data
    require_made(data.world, data.files)
    paths = dict(zip(NAMES, map(_list, (data.comparisons, data.ratings, data.demonstrations, data.raters))))
    by_file = data.prefix_raters == "file"
    request = Request(
        paths, data.columns, tuple(_list(data.split)) or None, data.group_column, data.within, data.preset, by_file, values=values or {}
    )
    counts: dict = {kind: {} for kind in NAMES}
    rows, _, told = _read(request, data.labels, data.max_bad, counts)
    return rows, counts | {"notices": told}


def said_of_files(data: DataSettings) -> dict:
    """What a recipe says of how its files are to be read, as arguments of `read_labels`."""
    return {name: getattr(data, name) for name in ("labels", "within", "preset", "prefix_raters", "pairs_per_rater")}


def _list(value: Paths) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str | PathLike):
        return [str(value)]
    return [str(item) for item in value]


def _read(
    request: Request, labels: Meanings, max_bad: float, counts: dict
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame | None, list[str]]:
    """The data by kind, in one form, the raters files, and what a person should be told of how files were read.

    Raises UserError where more rows are bad than allowed.
    """
    if not any(request.paths[kind] for kind in DATA_KINDS):
        raise UserError("no comparisons, ratings or demonstrations; training needs labels: give at least one file")
    problems = Problems()
    check_columns(request)
    parts = {kind: read_parts(kind, request, problems, counts[kind]) for kind in NAMES}
    check_mapped(request, parts)
    parts["comparisons"] = read_meaning(parts["comparisons"], labels, problems, counts["comparisons"])
    told = [f"{file}: {note}" for kind in NAMES for file, notes in counts[kind]["notes"].items() for note in notes]
    told += notices.about_sittings(parts["ratings"]) + notices.about_ranks(parts["ratings"])
    told += notices.about_unread_labels(parts["comparisons"], request.columns)
    for kind in DATA_KINDS:
        told += about_texts(parts[kind]) + notices.about_unread_splits(parts[kind])
    rows = sum(counts[kind]["read"] - counts[kind]["other_split"] for kind in DATA_KINDS)
    allowed, remedy = int(max_bad * rows), f"\nOf {rows} rows a share of {max_bad:g} may be left out, each counted: data.max_bad"
    listed = _listed(parts["raters"])
    data = {kind: [_check_cells(kind, part, problems, request.values) for part in parts[kind]] for kind in DATA_KINDS}
    problems.raise_above(allowed, remedy)
    frames = {kind: normalise(kind, data[kind], problems, counts[kind]) for kind in DATA_KINDS}
    problems.raise_above(allowed, remedy)
    counts["dropped"] = {file: dict(raters) for file, raters in problems.dropped.items()}
    return frames, listed, told


def _check_cells(kind: str, part: Part, problems: Problems, values: dict[str, float] | None = None) -> Part:
    """The part without its bad rows, numbers read, also those that words among the ratings stand for (`values`)."""
    rules = RULES
    if kind == "raters":
        rules = RULES | {"split": checks.rater_split_fault}
    elif "prompt" not in part.frame and any(
        isinstance(cell, list) for name in ("chosen", "a") if name in part.frame for cell in part.frame[name]
    ):
        rules = RULES | dict.fromkeys(("chosen", "rejected", "a", "b"), checks.conversation_fault)
    for name in [name for name in part.frame if name in rules]:
        problems.check(part.rows, part.frame[name], name, rules[name])
    frame = part.frame
    for name in [name for name in ("rating", "strength") if name in frame]:
        cells = frame[name].map(lambda cell: values.get(str(cell), cell)) if values and name == "rating" else frame[name]
        numbers, faults = read_numbers(cells)
        if name == "strength":  # may be missing, and is nobody's below 0
            faults = {i: fault for i, fault in faults.items() if not checks.is_missing(frame[name].iloc[i]) and frame[name].iloc[i] != ""}
            faults |= dict.fromkeys(np.flatnonzero(numbers < 0).tolist(), "is below 0, which contradicts the label; correct one of them")
        problems.add_all(part.rows, frame[name], name, faults)
        frame = frame.assign(**{name: numbers})
    return replace(part, frame=problems.settle(part.rows, frame))


def _listed(parts: list[Part]) -> pd.DataFrame | None:
    """The raters files as one frame indexed by ID, with what they have of persona, group, split; or None."""
    if not parts:
        return None
    problems = Problems()  # none is allowed: a rater without their row would silently change persona or split
    seen: set[str] = set()
    for part in parts:
        _check_cells("raters", part, problems)
        for index, rater in zip(part.frame.index, part.frame["rater_id"]):
            if str(rater) in seen:
                fault = "rater_id has a row before this one; a rater has one row: merge them"
                problems.add(part.rows, index, fault, rater)
            seen.add(str(rater))
    problems.raise_above()
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return frame.set_index(objects(map(str, frame["rater_id"]))).drop(columns="rater_id")


def _groups(data: dict[str, pd.DataFrame], counts: dict) -> dict[str, str]:
    """Rater -> the group that most of the rater's rows name (the first by name where several do)."""
    rows = pd.concat([frame[["rater_id", "group"]] for frame in data.values()])
    sizes = rows.dropna().groupby(["rater_id", "group"], as_index=False).size()
    counts["rows_without_group"] = int(rows["group"].isna().sum())
    counts["in_several_groups"] = sorted(sizes.loc[sizes["rater_id"].duplicated(), "rater_id"].unique())
    sizes = sizes.sort_values(["rater_id", "size", "group"], ascending=[True, False, True])
    first = sizes.drop_duplicates("rater_id")
    return dict(zip(first["rater_id"], first["group"]))


def _raters(labelled: pd.Series, listed: pd.DataFrame | None, groups: dict, share: float, seed: int, counts: dict) -> pd.DataFrame:
    """The frame `Labels.raters`. `labelled` is the number of labels by rater ID."""
    known = listed if listed is not None else pd.DataFrame(index=pd.Index([], dtype=object))
    files = ", ".join(counts["files"])
    if "group" in known and groups:
        raise UserError(
            f"{files}: raters have a group here and in group_column; a rater's group has one source: "
            "leave out group_column or the column `group`"
        )
    if listed is not None and not set(known.index) & set(labelled.index):
        raise UserError(
            f"{files}: none of the {len(known)} raters here has a label; IDs must be those of the data, "
            f"such as {', '.join(sorted(labelled.index)[:3])}: correct them"
        )
    ids = sorted(set(labelled.index) | set(known.index))
    frame = pd.DataFrame({"rater_id": objects(ids)})
    for name in ("persona", "group"):
        cells = optional_names(known[name]).to_dict() if name in known else {}
        frame[name] = objects((cells | groups if name == "group" else cells).get(rater) for rater in ids)
    if "split" in known:
        frame["split"] = objects(known["split"].to_dict().get(rater, "train") for rater in ids)
    else:
        held = _held_out(sorted(labelled.index), share, seed)
        frame["split"] = objects("validate" if rater in held else "train" for rater in ids)
    unlisted = set(labelled.index) - set(known.index)
    counts |= {
        "labelled": len(labelled),
        "with_one_label": sorted(labelled.index[labelled == 1]),
        "listed_without_labels": sorted(set(known.index) - set(labelled.index)),
        "labelled_without_row": sorted(unlisted) if listed is not None else [],
        "split_from": "raters file" if "split" in known else "validate_share",
        **{part: int((frame["split"] == part).sum()) for part in ("train", "validate")},
    }
    return frame


def _held_out(raters: list[str], share: float, seed: int) -> set[str]:
    """About `share` of the raters, by a hash of seed and ID; at least one and not all where share > 0."""
    if share == 0:
        return set()
    place = {r: int.from_bytes(hashlib.sha256(f"{seed}:{r}".encode()).digest()[:8]) / 2**64 for r in raters}
    order = sorted(raters, key=place.__getitem__)
    below = sum(place[rater] < share for rater in raters)
    return set(order[: min(max(below, 1), len(raters) - 1)])


def _duplicates(frame: pd.DataFrame) -> int:
    """Rows equal to an earlier one. They count as labels: to say the same thing twice is to mean it."""
    return int(frame.assign(prompt=keys(frame["prompt"])).duplicated().sum())
