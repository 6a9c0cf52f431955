"""People who come after training: who they are, inferred from their labels; the weights stay as they are.

Comparisons are read as they are, ties included. Ratings are read as what they say of order: every two different ratings that a person gave
answers to one prompt are a comparison, and n ratings of one prompt together count for n - 1. Own answers are read where a run was trained
on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.checks import fault_finder
from raterhf.engine.margins import margins_of
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.models.checkpoint import read_header
from raterhf.raters.answers import AnswerModel, Answers, infer_answers
from raterhf.raters.inference import Noise, Statements, infer
from raterhf.raters.letters import Letters
from raterhf.raters.population import Population


@dataclass(frozen=True)
class FittedRater:
    """A person inferred from `labels` comparisons (pairs of ratings among them) or own answers, who is `taste`, a mixture over vectors [k].

    `mean` [k] and `covariance` [k, k] are its moments. `log_evidence` is how likely the population makes the labels, in nats.
    """

    id: str
    labels: int
    taste: Population
    mean: np.ndarray
    covariance: np.ndarray
    log_evidence: float


def noise_of(folder: Path) -> Noise:
    """How sure labels are, as the reward stage in `folder` found it. Raises UserError where its raterhf.json does not say."""
    report = read_header(folder, "reward").get("report", {})
    if "tie_width" not in report:
        raise UserError(f"{folder}/raterhf.json does not say how sure labels are (`report.tie_width`); train the stage reward again")
    return Noise(np.array(report.get("grade_cuts", [report["tie_width"]])), report["label_noise"])


def fit_raters(
    scorer: Scorer, renderer: Renderer, noise: Noise, labels: Labels, ids: Sequence[str], prior: Population,
    left_out: np.ndarray | None = None,
) -> list[FittedRater]:  # fmt: skip
    """The people `ids`, from their comparisons but those `left_out` [N]. Raises UserError for a text that the model cannot read."""
    place = {rater_id: i for i, rater_id in enumerate(ids)}
    rows = labels.comparisons.assign(weight=weights(labels))
    rows = rows[rows.rater_id.isin(place) & (True if left_out is None else ~left_out)]
    if "strength" in rows:
        log.warning(f"  {', '.join(ids[:3])}: of how much better an answer is (strength) nothing is read, of which is better all")
    find = fault_finder(scorer.model)
    sides: tuple[list[Example], list[Example]] = ([], [])
    for row, prompt, *answers in zip(rows.index, rows.prompt, rows.a, rows.b):
        for side, answer in zip(sides, answers):
            example = renderer.example(prompt, answer)
            if fault := find(example):
                raise UserError(f"comparison {row + 1} as read, prompt {str(prompt)[:60]!r}: {fault}")
            side.append(example)
    rater = np.array([place[rater_id] for rater_id in rows.rater_id], np.int64)
    statements = Statements(rater, rows.label.to_numpy(np.int64), np.full(len(rows), -1), rows.weight.to_numpy(np.float64))
    found = infer(margins_of(scorer, *sides, rater), statements, noise, prior, len(ids))
    mean, covariance, counts = found.mean(), found.covariance(), np.bincount(rater, minlength=len(ids))
    return [
        FittedRater(rater_id, int(counts[i]), found.of(i), mean[i], covariance[i], float(found.log_evidence[i]))
        for i, rater_id in enumerate(ids)
    ]


def fit_by_answers(
    model: AnswerModel, letters: Letters, prompts: Sequence[str], labels: Labels, ids: Sequence[str], prior: Population
) -> list[FittedRater]:  # fmt: skip
    """The people `ids`, from their own answers to any prompts, of which `prompts` are those that the model knows."""
    place, known = {rater_id: i for i, rater_id in enumerate(ids)}, {prompt: i for i, prompt in enumerate(prompts)}
    rows = labels.demonstrations
    rows = rows[rows.rater_id.isin(place)] if len(rows) else rows
    points = letters.points(list(rows.completion)) if len(rows) else np.zeros((0, len(model.axes)))
    rater = np.array([place[rater_id] for rater_id in rows.get("rater_id", ())], np.int64)
    prompt = np.array([known.get(str(prompt), -1) for prompt in rows.get("prompt", ())], np.int64)
    found = infer_answers(model, prior, Answers(points, rater, prompt), len(ids))
    mean, counts = found.mean(), np.bincount(rater, minlength=len(ids))
    return [
        FittedRater(rater_id, int(counts[i]), found.of(i), mean[i], found.of(i).covariance(), float(found.log_evidence[i]))
        for i, rater_id in enumerate(ids)
    ]


def weights(labels: Labels) -> np.ndarray:
    """How many independent comparisons each row of the comparisons counts for [N]: 1, and less for pairs of ratings.

    A rater's n ratings of one prompt are up to n (n - 1) / 2 pairs, but say only n - 1 things about which is better than which.
    """
    rows = labels.comparisons.reset_index(drop=True)
    found, pairs = np.ones(len(rows)), labels.counts["ratings"].get("pairs", 0)  # which stand last
    rated = rows[len(rows) - pairs :]
    for group in rated.groupby([rated.rater_id, rated.prompt.astype(str)], sort=False).groups.values():
        together = rated.loc[group]
        found[group] = (len(set(together.a) | set(together.b)) - 1) / len(together)
    return found
