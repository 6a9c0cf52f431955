"""Raters known from their answers alone, before a policy learns to answer as them.

What hangs together across a rater's answers, as their letters tell (`raters/letters.py`), is their taste (`raters/answers.py`). So a rater
is known as well after an hour of training as after none, and who gave few answers is known less, not worse. Imitation then reads at every
visit a draw of who the rater could be, so that the policy learns what a person with that taste says, whoever else was near.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raterhf.log import log
from raterhf.raters.answers import AnswerModel, Answers, Inferred, fit_answers, fit_crowd, in_units, infer_answers
from raterhf.raters.letters import Letters, fit_letters
from raterhf.raters.pool import RaterPool
from raterhf.recipe import RatersSettings
from raterhf.training.stages.reward import members_of


@dataclass(frozen=True)
class Known:
    """Who the raters are, and how they are known: for a policy to imitate, and for people who come later."""

    raters: Inferred
    model: AnswerModel
    letters: Letters
    prompts: list[str]


def know_by_answers(
    prompts: Sequence[str], texts: Sequence[str], rater: np.ndarray, pool: RaterPool, settings: RatersSettings, folder: Path, seed: int
) -> Known:
    """Who the raters of a pool are, from texts [N] of theirs (`rater` [N]) to prompts [N]; puts their vectors and the populations into the
    pool."""
    letters, place = fit_letters(texts, seed), {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    answers = Answers(letters.points(texts), rater, np.array([place[prompt] for prompt in prompts], np.int64))
    model, trials = fit_answers(answers, len(pool.known), settings.dim, seed)
    best = trials[0]
    log.info(
        f"  {folder.name}: answers of {len(pool.known)} raters hang together on {best['dim']} of {settings.dim} axes, by "
        f"{best['gain']:.2f} nats a rater on raters left out"
    )
    if best["dim"] == 0:
        log.warning(
            f"  {folder.name}: nothing in what raters say tells them apart, so that fictitious raters will be nobody in particular; give "
            "more answers of each"
        )
    everybody = np.ones(len(pool.known), bool)
    population, _ = fit_crowd(model, answers, everybody, settings.components, seed)
    model, pool.populations[""] = in_units(model, population)
    for key, members in members_of(pool).items():
        pool.populations[key], _ = fit_crowd(model, answers, np.isin(pool.known, members), settings.components, seed)
    inferred = infer_answers(model, pool.populations[""], answers, len(pool.known))
    pool.vectors = inferred.mean().astype(np.float32)
    return Known(inferred, model, letters, list(place))
