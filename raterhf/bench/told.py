"""Pairs told apart: of two things that one rater valued differently, which is the better one; and the figures of a row of `bench raters`.

A model gives a margin for each pair, positive where it is right. What makes margins log-odds is one scale a model, fitted on labels that
were kept back of the training ones. A margin of 0 counts as half right. Intervals are over raters drawn again, never over pairs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from raterhf.evaluation import metrics

RESAMPLES = 1000
LABELS = (0, 1, 5, 10, 20, 40)  # of a new person
ORDERS = 8  # of a new person's labels: which came first moves a figure by more than models differ

Given = TypeVar("Given")
Asked = TypeVar("Asked")


@dataclass(frozen=True)
class Told:
    """P pairs: `rater` [P] from 0 whose they are, `margin` [P] in favour of what the rater said."""

    rater: np.ndarray
    margin: np.ndarray

    def scaled(self, scale: float) -> "Told":
        return Told(self.rater, scale * self.margin)


def together(parts: Sequence[Told]) -> Told:
    return Told(np.concatenate([part.rater for part in parts]), np.concatenate([part.margin for part in parts]))


def together_in_mind(members: Sequence[Told]) -> Told:
    """What several models say of the same pairs, whose margins are log-odds: the log-odds of their mean probability."""
    mean = np.mean([expit(one.margin) for one in members], 0)
    return Told(members[0].rater, logit(np.clip(mean, 1e-12, 1 - 1e-12)))


@dataclass(frozen=True)
class Teller(Generic[Given, Asked]):
    """A fitted model in the table: what it says of pairs of known people, and of new people by some labels of theirs where it can.

    `scale` makes its margins log-odds, `settings` are what was chosen on labels kept back.
    """

    name: str
    scale: float
    known: Callable[[Asked], Told]
    new: Callable[[Given, Asked], Told] | None = None
    settings: dict = field(default_factory=dict)


def table_rows(
    tellers: Iterable[Teller[Given, Asked]], tests: Sequence[tuple[dict, Asked]], query: Asked | None, support: Callable[[int, int], Given],
    seed: int,
) -> Iterator[dict]:  # fmt: skip
    """Rows of the table, of the floor first: for each model those of `tests`, with what tells them apart, and those of unseen people.

    `support` gives labels of each unseen person by their number and the seed of their order; `query` is nothing where there is none.
    """
    floors: dict[int | str, Told] = {}
    for teller in tellers:
        same = {"seed": seed, "model": teller.name, "settings": teller.settings}
        for number, (what, test) in enumerate(tests):
            told = teller.known(test).scaled(teller.scale)
            yield same | {"split": "test", **what, **summary(told, floors.setdefault(number, told), seed)}
        if query is None or teller.new is None:
            continue
        for count in LABELS if "unseen" in floors else (0,):  # labels tell nobody nothing
            orders = ORDERS if count else 1
            each = [teller.new(support(count, order), query).scaled(teller.scale) for order in range(seed, seed + orders)]
            floor = floors.setdefault("unseen", each[0])
            figures = summary(together(each), together([floor] * orders), seed, orders)
            yield same | {"split": "unseen", "labels": count, **figures}


def fit_scale(told: Told) -> float:
    """The factor under which margins are log-odds: the likeliest one."""
    said = np.ones(len(told.margin), np.int64)
    found = minimize_scalar(lambda log_scale: metrics.nll(np.exp(log_scale) * told.margin, said), bounds=(-5, 5), method="bounded")
    return float(np.exp(found.x))


def summary(told: Told, floor: Told, seed: int, orders: int = 1) -> dict:
    """Accuracy, and gain over `floor` on the same pairs, each with the 95 % interval over raters; nats a pair and calibration error.

    `orders` is how often each pair stands there, once for each order of labels that was drawn.
    """
    rng = np.random.default_rng(seed)
    raters = int(told.rater.max()) + 1
    pairs, right, lower = (np.bincount(told.rater, of, raters) for of in (np.ones(len(told.rater)), _right(told), _right(floor)))
    there = np.flatnonzero(pairs)
    drawn = there[rng.integers(len(there), size=(RESAMPLES, len(there)))]

    def interval(hits: np.ndarray) -> list[float]:
        return np.quantile(hits[drawn].sum(1) / pairs[drawn].sum(1), [0.025, 0.975]).round(4).tolist()

    said = np.ones(len(told.margin), np.int64)
    return {
        "accuracy": round(float(right.sum() / pairs.sum()), 4),
        "interval": interval(right),
        "gain": round(float((right - lower).sum() / pairs.sum()), 4),
        "gain_interval": interval(right - lower),
        "nats": round(-metrics.nll(told.margin, said), 4),
        "ece": round(metrics.ece(told.margin, said), 4),
        "raters": len(there),
        "pairs": len(told.margin) // orders,
    }


def _right(told: Told) -> np.ndarray:
    return (1 + np.sign(told.margin)) / 2
