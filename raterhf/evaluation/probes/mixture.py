"""Several raters of a model as one speaker: a fresh one of them, of whom nothing is known but how they began their answer.

Raters count as they are likely to have begun so. Notation: R raters, V tokens of the vocabulary.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import logsumexp

from raterhf.data.requests import Prompt
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.evaluation.probes.tree import Path
from raterhf.raters.pool import Rater


class Mixture:
    """Answers to the prompts `wordings`, read token by token: a text is asked about after its beginnings."""

    def __init__(self, model: RaterPolicy, wordings: Sequence[Prompt], raters: Sequence[Rater]):
        heads = [model.renderer.prompt(wording, rater.text) for wording in wordings for rater in raters]
        self.texts, self.raters = model.begun_texts(heads, list(raters) * len(wordings)), len(raters)
        self.prompts = {(number, ()): np.zeros(self.raters) for number in range(len(wordings))}
        self.weight: dict[tuple[int, Path], np.ndarray] = dict(self.prompts)  # log-probability [R] of each beginning

    def after(self, begun: Sequence[tuple[int, Path]], then: Sequence[Iterable[int]], told: bool = True) -> np.ndarray | None:
        """Log-probabilities [N, V] of the next token of different texts (a wording's number, token ids), with which `then` they go on;
        None where they are not to be `told`."""
        asked = [(wording * self.raters + r, path) for wording, path in begun for r in range(self.raters)]
        found = self.texts.next_distributions(asked).reshape(len(begun), self.raters, -1)
        weights = np.stack([self.weight[text] for text in begun])
        for (wording, path), each, weight, tokens in zip(begun, found, weights, then, strict=True):
            self.weight |= {(wording, (*path, token)): weight + each[:, token] for token in tokens}
        if not told:
            return None
        return logsumexp(found + (weights - logsumexp(weights, axis=1, keepdims=True))[:, :, None], axis=1)

    def forget(self) -> None:
        """All that was read but the prompts."""
        self.texts.forget()
        self.weight = dict(self.prompts)
