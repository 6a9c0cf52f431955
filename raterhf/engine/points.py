"""Answers as points: the states in which a language model reads them, by which raters are known from what they say alone."""

from collections.abc import Sequence

import numpy as np
import torch

from raterhf.data.example import Example
from raterhf.engine.checks import check_examples
from raterhf.engine.passes import mean_states
from raterhf.engine.plan import plan
from raterhf.engine.scorer import TOKEN_BUDGET
from raterhf.models.policy import Policy
from raterhf.progress import Progress

AT_ONCE = 512  # answers that are read between two lines of progress


@torch.no_grad()
def answer_points(policy: Policy, examples: Sequence[Example], title: str) -> np.ndarray:
    """Points [N, D]: means of a model's last states over the tokens of each answer, its end included, read by nobody's prefix."""
    check_examples(policy, examples)
    found = []
    with Progress(f"reading answers of {title}", len(examples), "answer") as progress:
        for start in range(0, len(examples), AT_ONCE):
            part = examples[start : start + AT_ONCE]
            states = mean_states(policy.decoder, plan(part, None, "prefix", 0, TOKEN_BUDGET), None)
            found.append(states.cpu().numpy().astype(np.float64))
            progress.advance(len(part))
    return np.concatenate(found)
