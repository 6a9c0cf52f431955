"""The same pair on both sides of a split, or in several files; and IDs that are not what they seem.

Pure functions of arrays and lists of IDs. Pairs are the same whose texts are, but for capitals and white space.
"""

import unicodedata
from dataclasses import replace

import numpy as np
import pandas as pd

from raterhf.data.inspection.choices import Choices, Coded, numbered

TRAIN = "train"


def folded(coded: Coded) -> Choices:
    """The comparisons with one code for prompts, and for answers, that differ in capitals and white space alone."""
    choices = coded.choices
    prompts, texts = (pd.factorize(np.array([_fold(text) for text in side], object))[0] for side in (coded.prompts, coded.texts))
    size = int(texts.max(initial=-1)) + 1
    a, b = (prompts[choices.prompt] * size + texts[choices.text[side]] for side in (choices.a, choices.b))
    low = np.minimum(a, b)
    ids = numbered(np.concatenate([low, np.maximum(a, b)]))
    question = numbered(ids[: len(low)] * (int(ids.max(initial=0)) + 1) + ids[len(low) :])
    return replace(choices, a=a, b=b, question=question, answer=np.where(a == low, choices.label, -choices.label))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def same_pairs(choices: Choices, part: pd.Series) -> dict[str, dict]:
    """Of the comparisons of each part (a split or a file) [n]: how many are of a pair that the reference part has too.

    The reference is `train`, or without one the largest part. By the same rater or by others alone, each also counted where the pair stands
    there only the other way round (`..._swapped`); `same_answer` counts those of the same rater that repeat the answer.
    """
    names = part.to_numpy(object)
    sizes = part.value_counts()
    if len(sizes) < 2:
        return {}
    reference = TRAIN if TRAIN in sizes else str(sizes.index[0])
    base = names == reference
    width = int(choices.question.max()) + 1
    own = choices.rater.astype(np.int64) * width + choices.question
    first = choices.a < choices.b
    turned = choices.question * 2 + first
    said = own * 3 + choices.answer + 1
    found = {}
    for name in sorted(str(name) for name in sizes.index if name != reference):
        rows = names == name
        same_rater = np.isin(own[rows], own[base])
        anybody = np.isin(choices.question[rows], choices.question[base])
        swapped = ~np.isin(turned[rows], turned[base])
        found[name] = {
            "reference": reference, "comparisons": int(rows.sum()), "same_rater": int(same_rater.sum()),
            "another_rater": int((anybody & ~same_rater).sum()),
            "same_rater_swapped": int((same_rater & swapped).sum()),
            "another_rater_swapped": int((anybody & ~same_rater & swapped).sum()),
            "same_answer": int(np.isin(said[rows], said[base]).sum()),
        }  # fmt: skip
    return found


def lookalikes(ids: list[str]) -> list[dict]:
    """Groups of IDs that differ by Unicode form, case, white space, unseen characters or leading zeros alone, with what it is."""
    groups: dict[str, list[str]] = {}
    for name in ids:
        groups.setdefault(_core(name), []).append(name)
    return [{"ids": sorted(names), "differ_by": _difference(names)} for names in groups.values() if len(names) > 1]


def _core(name: str) -> str:
    """What is left of an ID when all that may be an accident is taken away."""
    plain = "".join(_seen(unicodedata.normalize("NFKC", name)).casefold().split())
    head = plain.rstrip("0123456789")
    return head + (plain[len(head) :].lstrip("0") or plain[len(head) :][:1])


def _difference(names: list[str]) -> list[str]:
    """The names of the differences: each one that, taken away, makes some of the names equal."""
    steps = {
        "Unicode form": lambda name: unicodedata.normalize("NFKC", name),
        "case": str.casefold,
        "white space": lambda name: "".join(name.split()),
        "characters that are not seen": _seen,
        "leading zeros": lambda name: _zeros(name),
    }
    found = [what for what, step in steps.items() if len({step(name) for name in names}) < len(set(names))]
    return found or ["several of Unicode form, case, white space, leading zeros"]


def _seen(name: str) -> str:
    """The name without characters that have no width."""
    return "".join(character for character in name if unicodedata.category(character) != "Cf")


def _zeros(name: str) -> str:
    head = name.rstrip("0123456789")
    return head + (name[len(head) :].lstrip("0") or name[len(head) :][:1])
