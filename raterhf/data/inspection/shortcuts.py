"""What gives a label away without reading: side, length, first and last characters, openings, templates, the model that wrote an answer.

A rule gives every answer a score and takes the answer with the higher one. The scores of a rule of values (a first character, a model) are
the shares in which answers of that value won, learned on pairs of other prompts than those it is tried on (five folds; of other answers,
where nearly all answers are to one prompt). A rule that has nothing to say of a pair is right on half of such pairs.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from raterhf.data.inspection.choices import Coded

FOLDS = 5
MIN_PAIRS = 10
MAX_PAIRS = 100_000  # pairs tried, drawn at random where there are more
PSEUDO = 1.0  # wins and losses that every value has beforehand
_MARK = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s")
_DIGITS = re.compile(r"\d+")
_LIST = re.compile(r"""\s*\[\s*(['"]).*\1\s*\]\s*""", re.S)


def first_character(text: str) -> str:
    return text[:1]


def last_character(text: str) -> str:
    return text[-1:]


def opening(text: str) -> str:
    """The first three words."""
    return " ".join(text.split(None, 3)[:3])


def ending(text: str) -> str:
    """The last three words."""
    return " ".join(text.rsplit(None, 3)[-3:])


def template(text: str) -> str:
    """The text without its numbers: equal for texts that a program filled in."""
    return _DIGITS.sub("#", text)


def is_list(text: str) -> bool:
    """A list of texts turned into one text, such as "['…']"."""
    return _LIST.match(text) is not None and _LIST.fullmatch(text) is not None


VALUES: dict[str, Callable[[str], Any]] = {
    "first character": first_character, "last character": last_character, "first three words": opening, "last three words": ending,
    "template (text without numbers)": template, "text that is a list": is_list,
}  # fmt: skip
# How the rule is called that takes more, and the one that takes less, of a number.
NUMBERS: dict[tuple[str, str], Callable[[str], float]] = {
    ("the longer answer", "the shorter answer"): len,
    ("more lines", "fewer lines"): lambda text: text.count("\n"),
    ("more list marks (-, 1.)", "fewer list marks (-, 1.)"): lambda text: len(_MARK.findall(text)),
    ("more capitals", "fewer capitals"): lambda text: sum(map(str.isupper, text)),
}
SIDES = "what stood first", "what stood second"


def find_shortcuts(coded: Coded, sources: tuple[pd.Series, pd.Series] | None, seed: int = 0) -> dict | None:
    """Every rule with its accuracy, the best first; None where fewer than `MIN_PAIRS` pairs are decided.

    `sources` names the model that wrote a and b, for rows where both are known. `baseline` is the accuracy of knowing nothing.
    """
    choices = coded.choices
    rows = np.flatnonzero(choices.label != 0)
    if len(rows) < MIN_PAIRS:
        return None
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x73686F7274]))
    if len(rows) > MAX_PAIRS:
        rows = np.sort(rng.choice(rows, MAX_PAIRS, replace=False))
    a, b, label = choices.a[rows], choices.b[rows], choices.label[rows]
    by_prompt = np.bincount(choices.prompt[rows]).max() <= len(rows) / 2
    fold = _folds(coded, rows, by_prompt, rng)
    used, place = np.unique(np.concatenate([choices.text[a], choices.text[b]]), return_inverse=True)
    texts = coded.texts[used]
    text_a, text_b = place[: len(rows)], place[len(rows) :]
    rules = []
    for name, of in VALUES.items():
        value = pd.factorize(np.array([of(text) for text in texts], object))[0]
        rules.append(_rule(name, value_rule(value[text_a], value[text_b], label, *fold), label))
    for names, of in NUMBERS.items():
        size = np.array([of(text) for text in texts], float)
        rules.append(_number(names, size[text_a] - size[text_b], label, fold))
    sided = choices.sided[rows]
    if sided.sum() >= MIN_PAIRS:
        rules.append(_number(SIDES, np.where(sided, 1.0, 0.0), label, fold))
    if sources is not None:
        models = pd.factorize(np.concatenate([column.to_numpy(object)[rows] for column in sources]))[0]
        value_a, value_b = models[: len(rows)], models[len(rows) :]
        if ((value_a >= 0) & (value_b >= 0) & (value_a != value_b)).sum() >= MIN_PAIRS:
            rules.append(_rule("model that wrote the answer", value_rule(value_a, value_b, label, *fold), label))
    listed = np.array([is_list(text) for text in texts])
    lists = {
        "texts": int(listed.sum()), "example": str(texts[listed][0])[:60] if listed.any() else None,
        "pairs_with_one": int((listed[text_a] != listed[text_b]).sum()),
    }  # fmt: skip
    rules.sort(key=lambda rule: -rule["accuracy"])
    return {
        "pairs": len(rows), "side_known": int(sided.sum()), "baseline": 0.5, "rules": rules, "lists": lists,
        "held_out_by": "prompt" if by_prompt else "answer",
    }  # fmt: skip


def _folds(coded: Coded, rows: np.ndarray, by_prompt: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fold of a and of b [pairs]: their prompt's, or each answer's own."""
    choices = coded.choices
    if by_prompt:
        fold = rng.permutation(np.arange(len(coded.prompts)) % FOLDS)[choices.prompt[rows]]
        return fold, fold
    fold = rng.permutation(np.arange(len(coded.texts)) % FOLDS)
    return fold[choices.text[choices.a[rows]]], fold[choices.text[choices.b[rows]]]


def value_rule(a: np.ndarray, b: np.ndarray, label: np.ndarray, fold_a: np.ndarray, fold_b: np.ndarray) -> np.ndarray:
    """Margins [pairs] of a rule of values, nan where a pair cannot be tried. `a` and `b` [pairs] are values' codes, -1 unknown."""
    margin = np.full(len(label), np.nan)
    size = int(max(a.max(initial=-1), b.max(initial=-1))) + 1
    told = (a != b) & (a >= 0) & (b >= 0)
    won, lost = np.where(label == 1, a, b), np.where(label == 1, b, a)
    for k in range(FOLDS):
        learn = told & (fold_a != k) & (fold_b != k)
        wins = np.bincount(won[learn], minlength=size) + PSEUDO
        losses = np.bincount(lost[learn], minlength=size) + PSEUDO
        score = wins / (wins + losses)
        tried = (fold_a == k) & (fold_b == k)
        margin[tried] = np.where(told[tried], score[a[tried]] - score[b[tried]], 0.0)
    return margin


def number_rule(difference: np.ndarray, label: np.ndarray, fold_a: np.ndarray, fold_b: np.ndarray) -> np.ndarray:
    """Margins [pairs] of more is better, or less is better, as the other folds have it; nan where a pair cannot be tried."""
    margin = np.full(len(label), np.nan)
    signs = np.sign(difference)
    for k in range(FOLDS):
        learn = (fold_a != k) & (fold_b != k)
        direction = 1.0 if (signs[learn] * label[learn]).sum() >= 0 else -1.0
        tried = (fold_a == k) & (fold_b == k)
        margin[tried] = direction * signs[tried]
    return margin


def _number(names: tuple[str, str], difference: np.ndarray, label: np.ndarray, fold: tuple[np.ndarray, np.ndarray]) -> dict:
    more = (np.sign(difference) * label).sum() >= 0
    return _rule(names[0] if more else names[1], number_rule(difference, label, *fold), label)


def _rule(name: str, margin: np.ndarray, label: np.ndarray) -> dict:
    """Accuracy over all tried pairs and over those of which the rule says something, and the latter's share."""
    tried = np.isfinite(margin)
    signs = np.sign(np.round(margin[tried], 12))
    right, says = (1 + signs * label[tried]) / 2, signs != 0
    return {
        "rule": name, "accuracy": float(right.mean()) if len(right) else 0.5, "says": float(says.mean()) if len(right) else 0.0,
        "accuracy_where_it_says": float(right[says].mean()) if says.any() else None, "pairs": int(tried.sum()),
    }  # fmt: skip
