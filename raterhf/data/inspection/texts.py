"""How long prompts and answers are: in words and characters, and in tokens where a recipe's model is known."""

from typing import TYPE_CHECKING

import numpy as np

from raterhf.data.inspection.choices import Coded
from raterhf.data.labels import Labels
from raterhf.errors import UserError

if TYPE_CHECKING:
    from raterhf.data.renderer import Renderer

MAX_TOKENISED = 20_000  # examples tokenised, drawn at random where there are more; and of those that may be too long, as many again
BINS = 30


def spread(lengths: np.ndarray) -> dict | None:
    """min, median, 95th percentile, max, and a histogram; None of nothing."""
    if not len(lengths):
        return None
    top = max(float(np.quantile(lengths, 0.99)), 1.0)
    counts, edges = np.histogram(np.minimum(lengths, top), bins=min(BINS, int(top) + 1), range=(0, top))
    return {
        "min": int(lengths.min()), "median": float(np.median(lengths)), "p95": float(np.quantile(lengths, 0.95)), "max": int(lengths.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }  # fmt: skip


def words(texts: np.ndarray) -> dict | None:
    return spread(np.fromiter((len(text.split()) for text in texts), np.int64, len(texts)))


def characters(texts: np.ndarray) -> np.ndarray:
    return np.fromiter(map(len, texts), np.int64, len(texts))


def tokens(labels: Labels, coded: Coded, renderer: "Renderer", rater_text: str, seed: int) -> dict:
    """Lengths of examples (rater's text, prompt, answer, end) in tokens, and how many do not fit the window.

    An example has no more tokens than bytes, so those of few bytes need no count. `over` counts different examples and `rows` the rows that
    hold one, exact unless `sampled`. What the model's chat template refuses is counted in `refused`, with the first reason.
    """
    compared, told = labels.comparisons, labels.demonstrations
    choices = coded.choices
    keys = np.concatenate([choices.a, choices.b, choices.items + coded.told_prompt * max(len(coded.texts), 1) + coded.told_text])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    n = len(compared)
    frames = (compared["prompt"], compared["prompt"], told["prompt"]), (compared["a"], compared["b"], told["completion"])
    prompts, answers = (np.concatenate([column.to_numpy(object) for column in columns])[first] for columns in frames)
    row = np.where(first < n, first, first - n)
    size = np.array([len(str(p).encode("utf-8", "replace")) + len(a.encode("utf-8", "replace")) for p, a in zip(prompts, answers)])
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6C656E67]))
    may = np.flatnonzero(size > renderer.max_length // 2)  # half: what a template writes around a conversation is not in `size`
    drawn = rng.permutation(len(first))[:MAX_TOKENISED]
    sampled = len(may) > MAX_TOKENISED
    examined = np.unique(np.concatenate([drawn, may[:0] if sampled else may]))
    length = np.zeros(len(first), np.int64)
    refused, reason = 0, None
    for i in examined:
        try:
            length[i] = renderer.length(prompts[i], answers[i], rater_text)
        except UserError as error:
            refused += 1
            reason = reason or f"row {row[i] + 1} as read: {error}"
    over = np.zeros(len(first), bool)
    over[examined] = length[examined] > renderer.max_length
    in_rows = over[inverse]
    rows = int((in_rows[:n] | in_rows[n : 2 * n]).sum() + in_rows[2 * n :].sum())
    return {
        "window": renderer.max_length, "lengths": spread(length[drawn][length[drawn] > 0]), "longest": int(length.max(initial=0)),
        "examples": len(first), "examined": len(examined), "sampled": sampled, "over": int(over.sum()), "rows_over": rows,
        "rows": n + len(told), "refused": refused, "reason": reason,
    }  # fmt: skip
