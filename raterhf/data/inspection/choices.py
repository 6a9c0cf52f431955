"""Labels as numbers: every rater, prompt, answer and question gets a code, so that what follows is arithmetic on arrays.

A question is what can be asked again: a prompt with two answers, whichever stands first, or a prompt that raters answer themselves. Reads
no files and computes no figures.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from raterhf.data.labels import Labels
from raterhf.data.normalise import keys

MAX_PAIRS = 5_000_000  # that own answers may become
MAX_OPTIONS = 50  # different answers to one prompt, at the most, for own answers to count as chosen among options


@dataclass(frozen=True)
class Choices:
    """Comparisons as arrays [n] of codes.

    `a` and `b` are items (an answer to one prompt), `text` [items] their texts' codes. `answer` is the label as seen from the item with the
    lower code: 1, -1 or 0, equal for equal meanings, whichever stood first. `sided` is True where it is known which stood first.
    """

    rater: np.ndarray
    prompt: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    sided: np.ndarray
    question: np.ndarray
    answer: np.ndarray
    text: np.ndarray

    def __len__(self) -> int:
        return len(self.rater)

    @property
    def items(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Votes:
    """One answer of each rater to each question: arrays [n] of codes, the first answer where the rater gave several."""

    rater: np.ndarray
    question: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Coded:
    """All labels as codes. `raters` are the IDs, `prompts` and `texts` the different texts by code."""

    raters: np.ndarray
    prompts: np.ndarray
    texts: np.ndarray
    choices: Choices
    told_rater: np.ndarray
    told_prompt: np.ndarray
    told_text: np.ndarray


def encode(labels: Labels) -> Coded:
    compared, told = labels.comparisons, labels.demonstrations
    n, m = len(compared), len(told)
    rater, raters = pd.factorize(np.concatenate([compared["rater_id"].to_numpy(object), told["rater_id"].to_numpy(object)]), sort=True)
    asked = np.concatenate([keys(compared["prompt"]).to_numpy(object), keys(told["prompt"]).to_numpy(object)])
    prompt, prompts = pd.factorize(asked)
    answers = (compared["a"], compared["b"], told["completion"])
    text, texts = pd.factorize(np.concatenate([column.to_numpy(object) for column in answers]))
    item_a, item_b, item_text = _items(prompt[:n], text[:n], text[n : 2 * n], len(texts))
    low, high = np.minimum(item_a, item_b), np.maximum(item_a, item_b)
    question = numbered(low * max(len(item_text), 1) + high)
    label = compared["label"].to_numpy(np.int64)
    choices = Choices(
        rater[:n], prompt[:n], item_a, item_b, label, compared["sided"].to_numpy(bool), question,
        np.where(item_a == low, label, -label), item_text,
    )  # fmt: skip
    return Coded(raters, prompts, texts, choices, rater[n:], prompt[n : n + m], text[2 * n :])


def _items(prompt: np.ndarray, a: np.ndarray, b: np.ndarray, texts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of the answers a and b, each with its prompt, and the code of the text of each such item."""
    pairs = np.concatenate([prompt, prompt]).astype(np.int64) * max(texts, 1) + np.concatenate([a, b])
    codes, found = pd.factorize(pairs)
    return codes[: len(a)], codes[len(a) :], found % max(texts, 1)


def independent(rater: np.ndarray, a: np.ndarray, b: np.ndarray, raters: int) -> np.ndarray:
    """Of each rater [raters], how many answers there are for each pair, 1 at the most: what a pair weighs where few ratings made many.

    `a` and `b` are the items of pairs [n].
    """
    pairs = np.bincount(rater, minlength=raters)
    width = int(max(a.max(initial=0), b.max(initial=0))) + 1
    nodes = np.unique(np.concatenate([rater * width + a, rater * width + b])) // width
    return np.minimum(1.0, np.bincount(nodes, minlength=raters) / np.maximum(pairs, 1))


def numbered(keys: np.ndarray) -> np.ndarray:
    """Codes 0, 1, ... of integers, in the order in which they appear."""
    return pd.factorize(keys)[0].astype(np.int64)


def pair_votes(choices: Choices) -> Votes:
    """Comparisons as votes; values 0, 1, 2: the item with the lower code is worse, equal, better."""
    return first_votes(choices.rater, choices.question, choices.answer + 1)


def told_votes(coded: Coded) -> Votes | None:
    """Raters' own answers as votes among the options of a prompt; None where answers are free text (nearly all different)."""
    if not len(coded.told_rater):
        return None
    options = pd.DataFrame({"prompt": coded.told_prompt, "text": coded.told_text}).groupby("prompt")["text"].agg(["nunique", "size"])
    if options["nunique"].max() > MAX_OPTIONS or options["nunique"].sum() > 0.5 * options["size"].sum():
        return None
    return first_votes(coded.told_rater, coded.told_prompt, numbered(coded.told_text))


def told_choices(coded: Coded) -> Choices | None:
    """Raters' own answers among the options of a prompt as comparisons of the answer given with every other option; None as `told_votes`.

    An option is what anybody answered to the prompt.
    """
    if told_votes(coded) is None:
        return None
    texts = max(len(coded.texts), 1)
    given, options = pd.factorize(coded.told_prompt.astype(np.int64) * texts + coded.told_text, sort=True)
    prompts = options // texts
    first, sizes = np.searchsorted(prompts, coded.told_prompt), np.bincount(prompts, minlength=len(coded.prompts))[coded.told_prompt]
    if (sizes - 1).sum() > MAX_PAIRS:
        return None
    row = np.repeat(np.arange(len(given)), sizes)
    other = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row, other = row[other != given[row]], other[other != given[row]]
    a = given[row]
    question = numbered(np.minimum(a, other) * len(options) + np.maximum(a, other))
    one = np.ones(len(row), np.int64)
    return Choices(
        coded.told_rater[row], coded.told_prompt[row], a, other, one, np.zeros(len(row), bool), question, np.where(a < other, one, -one),
        options % texts,
    )  # fmt: skip


def first_votes(rater: np.ndarray, question: np.ndarray, value: np.ndarray) -> Votes:
    pairs = rater.astype(np.int64) * (int(question.max(initial=0)) + 1) + question
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    return Votes(rater[first], numbered(question[first]), value[first])
