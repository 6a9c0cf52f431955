"""Samples of answers to closed questions, as distributions: read off the model where its answers are listed, else counted from draws."""

from dataclasses import dataclass

import numpy as np

from raterhf.evaluation import metrics
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure


@dataclass(frozen=True)
class Distributions:
    """For each question p [R, K + 1] of R rows: draws as ones, or one exact distribution. `draws` is None where distributions are exact.

    `floors` are, where a question's distribution is known, the tv of the best learner from as many labels, with as many draws.
    """

    questions: list[ProbeQuestion]
    p: list[np.ndarray]
    draws: int | None
    floors: list[float | None]

    @property
    def rows(self) -> int:
        return len(self.p[0])

    def mean(self, i: int, rows: np.ndarray) -> np.ndarray:
        """Distribution [K + 1] of question i over these rows."""
        return self.p[i][rows].mean(0)


def distributions_of(interview: Interview, name: str, questions: list[ProbeQuestion]) -> Distributions:
    """Distributions for closed questions: of a model without raters read off it, where all can be, else counted from draws.

    Of raters, exact distributions of a few would have a floor of their own.

    CannotMeasure where nothing valid was said to a question, or with fewer draws than classes.
    """
    if interview.without_raters(name):
        try:
            return Distributions(
                questions, [interview.distribution(name, q)[None] for q in questions], None, _floors(interview, name, questions, None)
            )
        except CannotMeasure:
            pass  # not listed, or not said as listed: counted
    drawn = []
    for question in questions:
        classes = interview.answers(name, question).classes
        if not (classes >= 0).any():
            raise CannotMeasure(f"{question.key}: none of {len(classes)} answers of {name} is valid")
        if len(classes) < len(question.classes):
            raise CannotMeasure(
                f"{question.key}: {len(classes)} draws for {len(question.classes)} classes; raise -n to {len(question.classes)}"
            )
        drawn.append(np.eye(len(question.classes) + 1)[classes])  # -1 is the last
    return Distributions(questions, drawn, len(drawn[0]), _floors(interview, name, questions, len(drawn[0])))


def _floors(interview: Interview, name: str, questions: list[ProbeQuestion], draws: int | None) -> list[float | None]:
    """Models learned from labels; people know."""
    labels = {} if name == PEOPLE else interview.labels
    rng = interview.rng("floors")
    return [None if q.distribution is None else metrics.tv_floor(q.distribution, labels.get(q.key), draws, rng, 500) for q in questions]


def etv(distributions: Distributions, i: int, rows: np.ndarray) -> float:
    """tv of question i, whose distribution is known, minus its floor."""
    return metrics.tv(distributions.mean(i, rows), distributions.questions[i].distribution) - distributions.floors[i]


def gamma(distributions: Distributions, rows: np.ndarray) -> float:
    """Sharpening pooled over the questions whose distribution is known."""
    known = [i for i, q in enumerate(distributions.questions) if q.distribution is not None]
    return metrics.gamma([distributions.mean(i, rows) * len(rows) for i in known], [distributions.questions[i].distribution for i in known])
