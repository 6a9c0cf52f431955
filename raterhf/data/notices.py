"""What a person should be told of data that were read, beside the figures: sentences with counts, for the log and for `data check`.

Nothing is changed here. Each function returns sentences, none where there is nothing to tell.
"""

import re
from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from raterhf.data.checks import names_a_sitting, rater_fault
from raterhf.data.normalise import keys
from raterhf.data.opening import FIELD
from raterhf.data.schema import DATA_KINDS, Part
from raterhf.data.suggest import LOOKED_AT, looks_like_label, pasted, spaced

SHOWN = 5
FEW_PROMPTS = 0.1
"""Below this share of the prompts of the smaller of two files they have few in common, such as checks of attention."""
SPLITS = set("train training test testing val valid validate validation dev eval evaluation holdout heldout".split())
_NUMBER = re.compile(r"[^\W\d]*[ _-]?\d{1,4}")
_SITTING = re.compile(r"\b(session|sitting|round|visit|interaction|conversation|wave|turn|day|date|block|batch)s?\b")
FEW = 5
"""Fewer validation raters than this choose a population by chance."""


def named(ids: Iterable[str]) -> str:
    """IDs for a sentence: the first few, and how many more."""
    ids = list(ids)
    return ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")


def account(counts: dict, labelled: set[str], dropped: set[str]) -> dict:
    """What became of every rater in the data files, each in one of the lists: used, without_pair, dropped, other_split or skipped.

    `dropped` are those who have bad rows.
    """
    everybody = {r for kind in DATA_KINDS for r in counts[kind].get("raters_in_files", [])}
    everybody = {r for r in everybody if not rater_fault(r)} | labelled
    left = everybody - labelled
    without = left & set(counts["ratings"].get("raters_without_pair", []))
    bad = (left - without) & dropped
    rest = left - without - bad
    other = rest if any(counts[kind].get("other_split") for kind in DATA_KINDS) else set()
    fates = {"without_pair": without, "dropped": bad, "other_split": other, "skipped": rest - other}
    return {"in_files": len(everybody), "used": len(labelled), **{name: sorted(ids) for name, ids in fates.items()}}


def about_raters(accounted: dict, without_row: list[str]) -> list[str]:
    """Who is in the files and not in what can be learned, and who is not in the raters file."""
    reasons = {
        "without_pair": "whose ratings make no pair (one answer to a prompt, or all rated alike)",
        "dropped": "whose rows are all bad",
        "skipped": "whose labels are all left out by data.labels",
    }
    told = [f"{len(ids)} rater(s) {reason}: {named(ids)}" for name, reason in reasons.items() if (ids := accounted[name])]
    if without_row:
        told.append(
            f"{len(without_row)} of {accounted['used']} rater(s) with labels have no row in the raters file, and so no persona or group, "
            f"and the split train: {named(without_row)}"
        )
    return told


def about_validation(people: pd.DataFrame) -> list[str]:
    """Who is kept for validation."""
    kept = sorted(people.rater_id[people.split == "validate"])
    if not kept:
        return []
    why = (
        "nothing is trained on their labels, which then tell what population of raters suits people whom training has not "
        "seen; where raters are vectors, read by the head, they become known when training ends"
    )
    few = f"; with so few that is chosen by chance: raise data.validate_share (now {len(kept)} of {len(people)})" if len(kept) < FEW else ""
    return [f"{len(kept)} rater(s) kept for validation: {why}{few}: {named(kept)}"]


def about_strength(compared: pd.DataFrame) -> list[str]:
    if "strength" not in compared:
        return []
    graded = compared["strength"].notna() & (compared["label"] != 0)
    if not graded.any():
        return []
    if (grades := compared.loc[graded, "strength"].nunique()) == 1:
        return [
            f"all strengths are {compared.loc[graded, 'strength'].iloc[0]:g}, which tells no comparison from another: they are not used"
        ]
    return [f"{int(graded.sum())} of {len(compared)} comparisons say how much better, in {grades} grade(s), and are trained on as graded"]


def about_attributes(frame: pd.DataFrame) -> list[str]:
    """Labels on several attributes that one rater's vector must hold."""
    if "attribute" not in frame or (names := frame["attribute"].dropna().unique()).size < 2:
        return []
    if all(any(str(name) in rater for name in names) for rater in frame["rater_id"].unique()):
        return []  # the rater is the person and the attribute
    return [
        f"labels on {len(names)} attributes ({named(map(str, sorted(names)))}) are taken as one kind of preference; for a rater per "
        "person and "
        "attribute map data.columns={rater_id: '{rater_id} / {attribute}'} with the file's names of both"
    ]


def about_files(frame: pd.DataFrame) -> list[str]:
    """IDs that stand in several files without a prompt in common, or with few where IDs are numbers: files that number their own people."""
    raters = frame.groupby("file")["rater_id"].agg(set)
    prompts = keys(frame["prompt"]).groupby(frame["file"]).agg(set)
    found = []
    for one, two in combinations(raters.index, 2):
        both, common = raters[one] & raters[two], len(prompts[one] & prompts[two])
        few = common < FEW_PROMPTS * min(len(prompts[one]), len(prompts[two])) and all(_NUMBER.fullmatch(name) for name in both)
        if both and (not common or few):
            found.append((one, two, both, common))
    remedy = "they are taken as the same people. If each file numbers its own, set data.prefix_raters=file"
    if len(found) == 1:
        one, two, both, common = found[0]
        prompt = f"have {common} prompt(s) in common" if common else "have no prompt in common"
        return [f"{len(both)} rater ID(s) stand in {one} and in {two}, which {prompt} ({named(sorted(both))}): {remedy}"]
    if found:
        files = sorted({file for one, two, *_ in found for file in (one, two)})
        ids = sorted(set().union(*(both for *_, both, _ in found)))
        shared = "no prompt in common" if not any(common for *_, common in found) else "no prompt, or few, in common"
        return [
            f"{len(ids)} rater ID(s) ({named(ids)}) stand in several of {len(files)} files that have {shared} ({named(files)}): {remedy}"
        ]
    return []


def about_unread_splits(parts: list[Part]) -> list[str]:
    """A column that nobody reads and that says train or test."""
    told = []
    for part in parts:
        used = set(part.names.values())
        for name in [str(name) for name in part.rows.frame if str(name) not in used and "split" not in part.frame]:
            values = {str(cell).strip().lower() for cell in part.rows.frame[name].head(LOOKED_AT) if isinstance(cell, str)}
            if 1 < len(values) and values <= SPLITS:
                told.append(
                    f"{part.rows.name}: {name} looks like a split ({', '.join(sorted(values))}) and is not read, so that pairs on both "
                    f"sides are not counted: {pasted('data.columns', {'split': name})}"
                )
    return told


def about_ranks(parts: list[Part]) -> list[str]:
    """Ratings whose column is called a rank, an error or the like: of these the lowest is usually the best."""
    return [
        f"{part.rows.name}: ratings are read from {part.names['rating']}, and the higher is the better; where the lowest is, turn it round"
        for part in parts
        if re.search(
            r"\b(rank|ranking|place|position|errors?|mistakes|toxicity|harmful|harmfulness)\b", spaced(part.names.get("rating", ""))
        )
    ]


def about_unread_labels(parts: list[Part], columns: dict[str, str]) -> list[str]:
    """Columns that nobody reads and that look like a label, where it is the user (in `columns`) who says what chosen and rejected are."""
    told = []
    for part in parts:
        names, frame = part.names, part.rows.frame
        if "chosen" not in part.frame or (names["chosen"], names["rejected"]) == ("chosen", "rejected"):
            continue
        used = {*names.values(), *(field for theirs in names.values() for field in FIELD.findall(theirs))}
        for name in [str(name) for name in frame if str(name) not in used]:
            if looks_like_label(name, frame[name].head(LOOKED_AT), [frame[names["chosen"]], frame[names["rejected"]]]):
                mapping = {ours: theirs for ours, theirs in columns.items() if ours.rpartition(".")[2] not in ("chosen", "rejected")}
                mapping |= {"a": names["chosen"], "b": names["rejected"], "label": name}
                told.append(
                    f"{part.rows.name}: {name} looks like a label and is not read: {names['chosen']} is taken as the preferred answer in "
                    f"every row. If {name} says which is preferred: {pasted('data.columns', mapping)}"
                )
    return told


def about_sittings(parts: list[Part]) -> list[str]:
    """A column of the file that says that one rater rated one prompt in several sittings, where ratings are paired without it."""
    told = []
    for part in parts:
        if "within" in part.frame or part.frame.empty or "prompt" not in part.frame:
            continue
        pairs = pd.DataFrame({"rater": _codes(part.frame["rater_id"]), "prompt": _codes(part.frame["prompt"])})
        asked = pairs.groupby(["rater", "prompt"], sort=False).ngroup().to_numpy()
        used = set(part.names.values())
        there = {str(name): part.rows.frame[name].loc[part.frame.index] for name in part.rows.frame if name not in used}
        found = [(name, *_sittings(name, cells, asked)) for name, cells in there.items()]
        best = max(found, key=lambda one: one[1], default=("", 0, 0))
        if best[1]:
            told.append(
                f"{part.rows.name}: {best[1]} times one rater rated one prompt in several sittings ({best[0]}), and {best[2]} of "
                "the pairs would "
                f"join answers from different ones; data.within={best[0]} pairs only within one"
            )
    return told


def _codes(cells: pd.Series) -> np.ndarray:
    """A number for each different cell. Rows are not checked yet: in ASCII even what is no text, or half of a character, can be told."""
    return pd.factorize(np.array([ascii(str(cell)) for cell in cells], dtype=object))[0]


def _sittings(name: str, cells: pd.Series, asked: np.ndarray) -> tuple[int, int]:
    """How many (rater, prompt) have several values of a column whose every value lies in one of them, and the pairs that cross values.

    A column that numbers the rows, or whose values lie in several, names no sitting: 0. Under such a name as session or round values may
    lie in several, as each rater's rounds are numbered.
    """
    if not cells.map(names_a_sitting).all():
        return 0, 0
    value = _codes(cells)
    if value.max() + 1 == len(value):
        return 0, 0
    together = pd.DataFrame({"asked": asked, "value": value}).value_counts().reset_index(name="rows")
    if together["value"].duplicated().any() and not (_SITTING.search(spaced(name)) and together["rows"].mean() > 1.5):
        return 0, 0
    sizes = together.groupby("asked")["rows"].agg(["size", "sum"])
    several = sizes.index[sizes["size"] > 1]
    rows = together[together["asked"].isin(several)]
    whole = sizes.loc[several, "sum"]
    crossing = (whole * (whole - 1) // 2).sum() - (rows["rows"] * (rows["rows"] - 1) // 2).sum()
    return len(several), int(crossing)


def about_pairs(counts: dict) -> list[str]:
    """Of pairs of ratings that were not taken."""
    if not (left := counts["pairs_left_out"]):
        return []
    return [f"ratings: of {counts['pairs'] + left} pairs that they make {left} are left out, by data.pairs_per_rater"]
