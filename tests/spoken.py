"""Interviews for the tests of the probes of texts: answers written by hand, and untrained models."""

from pathlib import Path

import numpy as np

from raterhf.engine.rater_policy import load_rater_policy
from raterhf.evaluation.probes.interview import Answers, Interview
from raterhf.evaluation.probes.questions import Asked


def heard(question: Asked, texts: list[str]) -> Answers:
    return Answers(texts, np.array([question.parse(text) for text in texts]))


def written(*said: tuple[Asked, list[str], list[str]]) -> Interview:
    """An interview of `model`, who has said these texts to each question, asked plainly and framed."""
    kept = {("model", q.key, framed): heard(q, texts) for q, plain, other in said for framed, texts in ((False, plain), (True, other))}
    return Interview({}, [q for q, _, _ in said], draws=len(said[0][1]), kept=kept)


def untrained(run: Path, questions: list[Asked], draws: int, max_new_tokens: int = 16) -> Interview:
    """The untrained models of tests/small_run.py, which say any tokens."""
    folders = {"base": ("base", "none"), "rater_new": ("policy", "new")}
    policies = {name: load_rater_policy(name, run / stage, how, 48, max_new_tokens) for name, (stage, how) in folders.items()}
    return Interview(policies, questions, draws=draws)
