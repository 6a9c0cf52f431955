"""What was said, as kinds: a closed question's classes, else whatever a probe takes for the same text said again."""

import re
from collections.abc import Callable

import numpy as np

from raterhf.evaluation.probes.interview import Answers, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation."""
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def kinds(question: ProbeQuestion, name: str, answers: list[Answers], key: Callable[[str], str]) -> list[np.ndarray]:
    """The kinds [R] of what `name` said, one array for each of `answers`, numbered alike in all; -1 is no valid answer.

    A closed question's kinds are its classes. An open one's are the texts with the same `key`; an empty key is no answer. CannotMeasure
    where nothing valid was said, or with fewer draws than classes.
    """
    if question.classes:
        found = [one.classes for one in answers]
    else:
        keys = [key(text) for one in answers for text in one.texts]
        number = np.where([bool(k) for k in keys], np.unique(keys, return_inverse=True)[1], -1)
        found = np.split(number, np.cumsum([one.rows for one in answers])[:-1])
    for one in found:
        if not (one >= 0).any():
            raise CannotMeasure(f"{question.key}: none of {len(one)} answers of {name} is valid")
        if len(one) < len(question.classes):
            raise CannotMeasure(
                f"{question.key}: {len(one)} draws for {len(question.classes)} classes; raise -n to {len(question.classes)}"
            )
    return found
