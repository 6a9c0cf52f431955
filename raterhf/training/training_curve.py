"""What a training says in its curve: which answers are the same, the figures of a look at them, and the file training_curve.csv.

training_curve.csv has a row for each look: `step` (updates done); `reward` (the proxy that is optimised), `kl` (nats a completion, from the
model that the stage began with) and `entropy` (nats a completion) where a stage has them; `top_share`, the mean over questions of the share
of the answer given most, and `top_share:KEY` for each of a world's questions, since trainings watch different ones; `diversity` of the mean
question (`evaluation/metrics/diversity.py`); and where a simulated world knows them `gold`, the mean graded quality, and `overrated`, the
share of answers that judges over-rate, among questions that have such answers.
"""

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.evaluation.metrics.diversity import diversity_interval
from raterhf.io import write_text
from raterhf.worlds.world import World

TRAINING_CURVE = "training_curve.csv"
Prompt = str | list[dict]


def name_answer(prompt: Prompt, text: str, world: World | None) -> str:
    """What an answer says: its class where a simulated world knows it, else its words, without case and punctuation.

    In other words it is another answer then; diversity falls as wording is optimised.
    """
    if world is not None:
        question = world.question_of(prompt)
        if (number := question.parse(text)) >= 0:
            return question.classes[number]
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def count_answers(names: Sequence[Sequence[str]]) -> np.ndarray:
    """Counts [Q, K] of the answers to each question, most frequent first, filled up with zeros."""
    counts = [sorted(Counter(answers).values(), reverse=True) for answers in names]
    return np.array([row + [0] * (max(map(len, counts)) - len(row)) for row in counts])


def describe(prompts: Sequence[Prompt], texts: Sequence[str], world: World | None) -> dict[str, float]:
    """The figures of answers [N] to prompts [N] that need no model; a question is a world's, else a prompt."""
    answers: dict[str, list[str]] = {}
    for prompt, text in zip(prompts, texts, strict=True):
        key = world.question_of(prompt).key if world else str(prompt)
        answers.setdefault(key, []).append(name_answer(prompt, text, world))
    shares = {key: max(Counter(names).values()) / len(names) for key, names in answers.items()}
    measured = {"top_share": float(np.mean(list(shares.values())))}
    if world is not None:
        measured |= {f"top_share:{key}": share for key, share in shares.items()}
    # Questions are asked as often as chance has it: each is cut to one number of answers, those asked hardly ever are left out.
    common = int(np.median([len(names) for names in answers.values()]))
    even = [names[:common] for names in answers.values() if len(names) >= common]
    if common >= 4:
        measured["diversity"] = diversity_interval(count_answers(even))[0]
    if world is not None:
        measured["gold"] = float(np.mean([world.gold(prompt, text) for prompt, text in zip(prompts, texts)]))
        rated = [(world.question_of(prompt), text.strip()) for prompt, text in zip(prompts, texts)]
        over = [q.bonus[q.index[text]] > 0 if text in q.index else False for q, text in rated if q.bonus.any()]
        if over:
            measured["overrated"] = float(np.mean(over))
    return measured


def write_training_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write training_curve.csv, whole or not at all."""
    buffer = io.StringIO()
    pd.DataFrame(rows).to_csv(buffer, index=False)
    write_text(path, buffer.getvalue())


def extend_training_curve(path: Path, row: dict[str, float]) -> None:
    """Add a look to training_curve.csv, in place of those of this step and later that an interrupted or earlier training left."""
    before = pd.read_csv(path) if path.is_file() else pd.DataFrame({"step": []})
    write_training_curve(path, [*before[before.step < row["step"]].to_dict("records"), row])
