"""Figures of texts that are told to people, where people rated texts: is a person told what they like, and are all told the same?

Notation: P people, I items (texts), N tellings. `item` [N] is what was told, -1 where it is no item; `ratings` [P, I] are people's own, NaN
where they gave none. Pure functions of numpy arrays.
"""

import re
from collections.abc import Sequence

import numpy as np

WORDS = 6  # of a text at least that say which item it is
TOP = 25  # items whose share together is reported (Jentzsch and Kersting 2023: 25 jokes were 90 % of ChatGPT's)


def recognise(texts: Sequence[str], items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which item each text begins as [N], -1 for none; and whether it is that item to the last word [N].

    A text is an item when its first words are the item's: as few as tell all items apart, `WORDS` at least. Case and punctuation do not
    count.
    """
    told, need = [words(text) for text in items], words_needed(items)
    place: dict[tuple[str, ...], int] = {}
    for i, text in enumerate(told):
        place.setdefault(tuple(text[:need]), i)
    said = [words(text) for text in texts]
    item = np.array([place.get(tuple(text[:need]), -1) for text in said], np.int64)
    whole = np.array([i >= 0 and text == told[i] for i, text in zip(item, said)], bool)
    return item, whole


def words_needed(items: Sequence[str]) -> int:
    """How many first words tell all items apart that differ in any word, `WORDS` at least; all words where nothing less does."""
    told = [words(text) for text in items]
    longest = max(map(len, told), default=0)
    return next((n for n in range(WORDS, longest) if len({tuple(t[:n]) for t in told}) == len({tuple(t) for t in told})), longest)


def opening(text: str, count: int) -> str:
    """The text to the end of its word number `count`; all of a shorter one."""
    ends = [found.end() for found in re.finditer(r"\w+", text)]
    return text[: ends[count - 1]] if 0 < count < len(ends) else text


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def favourites(ratings: np.ndarray) -> np.ndarray:
    """Each person's shares [P, I] of what they rated highest: one item, or several that are equal. A person without a rating has none."""
    best = np.nanmax(np.where(np.isnan(ratings), -np.inf, ratings), axis=1, keepdims=True)
    top = (ratings == best) & np.isfinite(best)
    return top / np.maximum(top.sum(1, keepdims=True), 1)


def effective(counts: np.ndarray) -> float:
    """Effective number of items: e to the entropy of their shares; nan where nothing was told."""
    total = counts.sum()
    if total == 0:
        return float("nan")
    share = counts[counts > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def top_mass(counts: np.ndarray, top: int = TOP) -> float:
    """Share of the `top` most frequent items."""
    return float(np.sort(counts)[::-1][:top].sum() / counts.sum()) if counts.sum() else float("nan")


def own_ratings(item: np.ndarray, person: np.ndarray, ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number [P] of the ratings that people gave what they were told, telling n to person `person[n]` (-1: to none of them); what
    they did not rate is left out."""
    given = np.where((item >= 0) & (person >= 0), ratings[np.maximum(person, 0), np.maximum(item, 0)], np.nan)
    there = ~np.isnan(given)
    return tuple(np.bincount(person[there], of[there], len(ratings)) for of in (given, np.ones(len(given))))


def everybodys_ratings(item: np.ndarray, ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same where each telling is to everybody [P]."""
    counts = np.bincount(item[item >= 0], minlength=ratings.shape[1]).astype(float)
    return np.nan_to_num(ratings) @ counts, (~np.isnan(ratings)) @ counts
