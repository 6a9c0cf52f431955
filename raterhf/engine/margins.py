"""How the margins of comparisons depend on raters' tastes: values and slopes, as inference of raters reads them.

Notation: R raters, N comparisons, k dimensions of taste, d hidden size.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from raterhf.data.example import Example
from raterhf.engine.scorer import Scorer
from raterhf.raters.batch import RaterBatch

APART = 0.05  # of two tastes whose scores give a slope, in units of the raters' spread


def margins_of(
    scorer: Scorer, a: Sequence[Example], b: Sequence[Example], rater: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """A function of tastes z [R, k] that gives the margins s(a) - s(b) [N] of each comparison for its `rater` [N], and slopes [N, k].

    At conditioning head texts are read once, here. Where the trunk reads the rater, each call reads each text 2 k + 1 times.
    """
    return _by_head(scorer, a, b, rater) if scorer.model.conditioning == "head" else _by_differences(scorer, a, b, rater)


def _by_head(scorer: Scorer, a: Sequence[Example], b: Sequence[Example], rater: np.ndarray) -> Callable:
    texts = list(dict.fromkeys([*a, *b]))
    place = {text: i for i, text in enumerate(texts)}
    with torch.no_grad():
        states = scorer.states(texts).double().cpu().numpy()
    between = states[[place[text] for text in a]] - states[[place[text] for text in b]] if len(a) else np.zeros((0, states.shape[1]))

    order = np.argsort(rater, kind="stable")
    who, first = np.unique(rater[order], return_index=True)
    own = dict(zip(who.tolist(), np.split(order, first[1:])))  # the rows of each rater

    def margins(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = z.shape[1]
        tastes = torch.as_tensor((z[:, None] + _steps(k)).reshape(-1, k), dtype=torch.float32, device=scorer.device)
        with torch.no_grad():
            heads = scorer.model.weights(RaterBatch.people(tastes)).double().cpu().numpy().reshape(len(z), 2 * k + 1, -1)
        slopes = (heads[:, 1 : k + 1] - heads[:, k + 1 :]) / (2 * APART)
        by_taste = np.zeros((len(between), k))
        for one, rows in own.items():
            by_taste[rows] = between[rows] @ slopes[one].T
        return (heads[rater, 0] * between).sum(1), by_taste

    return margins


def _by_differences(scorer: Scorer, a: Sequence[Example], b: Sequence[Example], rater: np.ndarray) -> Callable:
    texts = [*a, *b]

    def margins(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = z.shape[1]
        steps = _steps(k)
        tastes = torch.as_tensor((z[:, None] + steps).reshape(-1, k), dtype=torch.float32)
        asked = torch.as_tensor(np.concatenate([rater, rater]))[None] * len(steps) + torch.arange(len(steps))[:, None]
        with torch.no_grad():
            scores = scorer.pairs(texts * len(steps), RaterBatch.people(tastes), asked.reshape(-1)).double().cpu().numpy()
        scores = scores.reshape(len(steps), 2, -1)
        margin = scores[:, 0] - scores[:, 1]
        return margin[0], ((margin[1 : k + 1] - margin[k + 1 :]) / (2 * APART)).T

    return margins


def _steps(k: int) -> np.ndarray:
    """From a taste to itself and to either side along each dimension [2 k + 1, k]: one pass of many is faster than a derivative."""
    return np.concatenate([np.zeros((1, k)), APART * np.eye(k), -APART * np.eye(k)])
