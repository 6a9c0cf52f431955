"""From checked cells to one form: prompts, answers as text, comparisons as a, b, label; and ratings to pairs.

It expects cells that kept the rules of `checks.py`. What shows only once they are in one form (equal answers,
conversations with different prompts) is found here. It reads no files.
"""

import json
import os
from collections.abc import Iterable
from unicodedata import normalize

import numpy as np
import pandas as pd

from raterhf.data.checks import Problems, is_missing
from raterhf.data.schema import Part
from raterhf.errors import UserError

COLUMNS = {
    "comparisons": ["prompt", "a", "b", "label", "rater_id"],
    "ratings": ["prompt", "response", "rating", "rater_id"],
    "demonstrations": ["prompt", "completion", "rater_id"],
}
# What is carried beside them for `inspection`: None where the file does not tell. `sided`: which answer stood first is known.
CARRIED = {
    "comparisons": ["group", "file", "split", "sided", "source_a", "source_b"],
    "ratings": ["group", "file", "split", "source"],
    "demonstrations": ["group", "file", "split"],
}
EXTRA = {"comparisons": ["strength", "both", "attribute", "reason"], "ratings": ["within", "attribute", "reason"], "demonstrations": []}
"""Columns that a kind has only where a file does."""
ANSWERS = {"comparisons": ["a", "b"], "ratings": ["response"], "demonstrations": ["completion"]}
NUMBERS = {"label": "int64", "rating": "float64", "strength": "float64"}

MAX_PAIRS = 5_000_000
"""Most pairs that ratings may become: n ratings of one prompt by one rater are up to n (n - 1) / 2 pairs."""
MAX_DRAWN = 100_000_000
"""Most pairs that some are drawn from."""


def normalise(kind: str, parts: list[Part], problems: Problems, counts: dict) -> pd.DataFrame:
    """The files of a kind in one frame: `COLUMNS[kind]`, `CARRIED[kind]`, what there is of `EXTRA[kind]`. Counts used and dropped."""
    frames = [_normalise_part(kind, part, problems) for part in parts]
    whole = [frame.astype({n: t for n, t in NUMBERS.items() if n in frame}) for frame in frames]
    empty = pd.DataFrame({n: pd.Series([], dtype=NUMBERS.get(n, object)) for n in COLUMNS[kind] + CARRIED[kind]})
    result = pd.concat(whole, ignore_index=True) if whole else empty
    for name in set(EXTRA[kind]) & set(result.columns) - {"strength"}:  # absent in one file of several
        result[name] = optional_names(result[name])
    counts["used"] = len(result)
    counts["dropped"] = counts["read"] - counts["other_split"] - counts.get("skipped", 0) - len(result)
    if parts and result.empty:
        problems.raise_above(remedy="\nevery row is bad: correct the file, or leave it out")
        raise UserError(f"{', '.join(counts['files'])}: no row is left to train on; correct the file, or leave it out")
    return result


def pair_ratings(ratings: pd.DataFrame, counts: dict, most: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Every two ratings that one rater gave answers to one prompt -> a comparison, a the higher rated.

    Only ratings of one attribute and `within` one thing are compared, where there are these columns. Equal ratings, or two ratings of one
    answer, are no preference and make no pair; both are counted. Of a rater's pairs at most `most` are taken, drawn by the seed. Pairs are
    in the order of the rows. Raises UserError where they would be none or more than `MAX_PAIRS`, or than `MAX_DRAWN` are to be drawn from.
    """
    prompts = ratings["prompt"].to_numpy(object)
    asked = pd.DataFrame({"rater": ratings["rater_id"], "prompt": keys(ratings["prompt"])})
    for name in ("within", "attribute"):
        if name in ratings:
            asked[name] = ratings[name]
    group = asked.groupby(list(asked), sort=False, dropna=False).ngroup()
    sizes = np.bincount(group) if len(group) else np.zeros(0, int)
    files = ", ".join(counts["files"])
    if (total := int((sizes * (sizes - 1) // 2).sum())) > (limit := MAX_PAIRS if most is None else MAX_DRAWN):
        fewer = "set data.pairs_per_rater, or " if most is None else ""
        raise UserError(
            f"{files}: {total} pairs of ratings, the most is {limit}; a rater rated {sizes.max()} "
            f"answers to one prompt: {fewer}choose the pairs that matter and give them as comparisons"
        )
    first, second = _within(group.to_numpy(), sizes)
    rating, answer = ratings["rating"].to_numpy(float), pd.factorize(ratings["response"])[0]
    same = answer[first] == answer[second]
    equal = (rating[first] == rating[second]) & ~same
    tied = first[equal]
    first, second = first[~same & ~equal], second[~same & ~equal]
    raters = ratings["rater_id"].to_numpy(object)
    taken = np.arange(len(first)) if most is None else _drawn(pd.factorize(raters)[0][first], most, seed)
    counts |= {
        "pairs": len(taken),
        "pairs_left_out": len(first) - len(taken),
        "equal_ratings": int(equal.sum()),
        "same_answer": int(same.sum()),
        "ratings_without_pair": len(ratings) - len(np.union1d(first, second)),
        "raters_without_pair": sorted(set(raters) - set(raters[first])),
        "raters_all_equal": sorted(set(raters[tied]) - set(raters[first])),
    }
    if len(ratings) and not len(first):
        raise UserError(
            f"{files}: {len(ratings)} ratings make no pair; a pair is two answers to one prompt that a "
            "rater rated differently: write prompts alike where they are the same, or leave the file out"
        )
    first, second = first[taken], second[taken]
    better, worse = np.where(rating[first] > rating[second], (first, second), (second, first))
    texts = ratings["response"].to_numpy(object)
    pairs = {"prompt": prompts[first], "a": texts[better], "b": texts[worse], "rater_id": raters[first]}
    for name in ("file", "split"):  # None where the two ratings come from different ones
        cells = ratings[name].to_numpy(object)
        pairs[name] = np.where(cells[first] == cells[second], cells[first], None)
    source = ratings["source"].to_numpy(object)
    pairs |= {"source_a": source[better], "source_b": source[worse]}
    if "attribute" in ratings:
        pairs["attribute"] = ratings["attribute"].to_numpy(object)[first]
    if "reason" in ratings:
        reason = ratings["reason"].to_numpy(object)
        both = zip(reason[better], reason[worse])
        pairs["reason"] = ["\n".join(f"{side}: {text}" for side, text in zip("ab", pair) if text) or None for pair in both]
    found = pd.DataFrame(pairs, dtype=object).assign(label=1, sided=False)
    extra = [name for name in EXTRA["comparisons"] if name in found]
    return found[COLUMNS["comparisons"] + CARRIED["comparisons"][1:] + extra]


def _drawn(rater: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows of pairs, at most so many of each rater [N], in their order."""
    order = np.lexsort((np.random.default_rng(np.random.SeedSequence([seed, 0x70616972])).random(len(rater)), rater))
    first = np.flatnonzero(np.diff(rater[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return np.sort(order[place < most])


def keys(prompts: pd.Series) -> pd.Series:
    """Prompts as text that can be hashed: a conversation as its JSON."""
    if all(type(prompt) is str for prompt in prompts):
        return prompts
    return objects((json.dumps(p) if isinstance(p, list) else p for p in prompts), prompts.index)


def objects(cells: Iterable, index: pd.Index | None = None) -> pd.Series:
    """A column that keeps None and lists as they are (pandas would make None in text NaN)."""
    return pd.Series(list(cells), dtype=object, index=index)


def optional_names(cells: pd.Series) -> pd.Series:
    """Names as text in NFC; null and the empty cell of a CSV file as None."""
    return objects((None if is_missing(cell) or cell == "" else normalize("NFC", str(cell)) for cell in cells), cells.index)


def _normalise_part(kind: str, part: Part, problems: Problems) -> pd.DataFrame:
    frame = part.frame.rename(columns={"chosen": "a", "rejected": "b"})
    shown = tuple(name for name in ("chosen", "rejected") if name in part.frame) or ("a", "b")
    if "prompt" not in frame:
        frame = _imply_prompt(part, frame, shown, problems)
    if "label" not in frame and kind == "comparisons":
        frame["label"] = 1
    frame["prompt"] = objects(map(_plain, frame["prompt"]), frame.index)
    for name in ANSWERS[kind]:
        texts = (cell[-1]["content"] if isinstance(cell, list) else cell for cell in frame[name])
        frame[name] = objects(texts, frame.index)
    frame["rater_id"] = objects(map(str, frame["rater_id"]), frame.index)
    frame["file"], frame["sided"] = part.rows.name, "label" in part.frame
    for name in set(CARRIED[kind]) - {"file", "sided"}:
        frame[name] = optional_names(frame[name]) if name in frame else None
    if kind == "comparisons":
        same = frame.index[(frame["a"] == frame["b"]) & (frame["label"] != 0)]
        fault = f"{shown[0]} equals {shown[1]}; a preference needs two answers: correct or remove the row"
        for index in same:
            problems.add(part.rows, index, fault, frame.loc[index, "a"])
        frame = problems.settle(part.rows, frame)
    frame = frame[COLUMNS[kind] + CARRIED[kind] + [name for name in EXTRA[kind] if name in frame]]
    return frame.astype({name: bool if name == "sided" else object for name in CARRIED[kind]})


def _imply_prompt(part: Part, frame: pd.DataFrame, shown: tuple, problems: Problems) -> pd.DataFrame:
    """TRL's implicit prompt: what both answers have in common at their beginning.

    Conversations differ in the last message alone: another difference is a fault, since it is not one answer that is judged. Of texts
    the prompt ends with the last white space before they differ, so that no word is cut.
    """
    cut: list[int] = []
    for index, a, b in zip(frame.index, frame["a"], frame["b"]):
        fault = _no_prompt(a, b, shown)
        if fault:
            problems.add(part.rows, index, fault, a if isinstance(a, str) else a[0]["content"])
        cut.append(-1 if isinstance(a, list) else _common(a, b))
    prompts = objects((cell[:end] for cell, end in zip(frame["a"], cut)), frame.index)
    rests = {name: objects((cell[end:] for cell, end in zip(frame[name], cut)), frame.index) for name in ("a", "b")}
    return problems.settle(part.rows, frame.assign(prompt=prompts, **rests))


def _no_prompt(a: list | str, b: list | str, shown: tuple) -> str:
    """Why two whole conversations or texts are not two answers to one prompt; "" where they are."""
    names = f"{shown[0]} and {shown[1]}"
    if isinstance(a, str) != isinstance(b, str):
        return f"{names}: one is text, the other a conversation; write both in one way"
    if isinstance(a, str) and isinstance(b, str):
        end = _common(a, b)
        return (
            ""
            if end and a[end:].strip() and b[end:].strip()
            else f"{names} have no beginning in common, or nothing else; add a prompt column"
        )
    shorter = min(len(a), len(b))
    if len(a) != len(b) and _plain(a[:shorter]) == _plain(b[:shorter]):
        return f"{names}: one conversation is the beginning of the other, so they end at different questions; end both at the same one"
    if _plain(a[:-1]) != _plain(b[:-1]):
        return (
            f"{names} differ before the last message, the one judged; correct it, or end both with the first messages that differ, "
            "if that is "
            "what was judged"
        )
    return ""


def _common(a: str, b: str) -> int:
    """Length of what two texts have in common at their beginning, up to and with its last white space."""
    end = len(os.path.commonprefix([a, b]))
    while end and not a[end - 1].isspace():
        end -= 1
    return end


def _plain(prompt: str | list[dict]) -> str | list[dict]:
    """Messages with role and content alone, in this order, so that equal ones have equal JSON."""
    if isinstance(prompt, str):
        return prompt
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def _within(group: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (first < second) of every two rows of the same group, in the order of the rows."""
    order, starts = np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes
    firsts, seconds = [np.zeros(0, int)], [np.zeros(0, int)]
    for size in np.unique(sizes[sizes > 1]):  # groups of one size at once
        i, j = np.triu_indices(size, 1)
        begin = starts[sizes == size][:, None]
        firsts.append(order[begin + i].ravel())
        seconds.append(order[begin + j].ravel())
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    by_row = np.lexsort((second, first))
    return first[by_row], second[by_row]
