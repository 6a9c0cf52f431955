"""Raters known from their answers alone, before a policy learns to answer as them.

What hangs together across a rater's answers, as their letters tell (`raters/letters.py`), is their taste (`raters/answers.py`). So a rater
is known as well after an hour of training as after none, and who gave few answers is known less, not worse. Imitation then reads at every
visit a draw of who the rater could be, so that the policy learns what a person with that taste says, whoever else was near.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from raterhf.data.example import Example
from raterhf.log import log
from raterhf.raters.answers import AnswerModel, Answers, Inferred, fit_answers, fit_crowd, in_units, infer_answers
from raterhf.raters.letters import Letters, fit_letters
from raterhf.raters.pool import RaterPool
from raterhf.raters.space import PrefixReader
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


@torch.no_grad()
def begin_reader(reader: PrefixReader, table: torch.Tensor, examples: Sequence[Example], vectors: np.ndarray) -> None:
    """Let a reader's soft tokens begin as what a person with such a taste says: half of them as the first tokens of an answer, half as the
    last.

    Each is the regression of the embedding that stands there in the answers of examples [N] on the taste [N, k] of who gave them, stretched
    to the spread of real embeddings (`table` [V, d]). A pretrained model knows how to go on from such a beginning, where soft tokens that
    mean nothing must first be learned to be listened to: in hundreds of updates they are not.
    """
    half = reader.tokens // 2
    answers = [example.ids[example.prompt_length :] for example in examples]
    first = [[ids[min(i, len(ids) - 1)] for i in range(reader.tokens - half)] for ids in answers]
    last = [[ids[max(0, len(ids) - half + i)] for i in range(half)] for ids in answers]
    place = torch.tensor([a + b for a, b in zip(first, last)], device=table.device)
    taste = torch.as_tensor(vectors, dtype=torch.float32, device=table.device)
    centred = taste - taste.mean(0)
    gram = centred.T @ centred + torch.eye(taste.shape[1], device=table.device)
    for i in range(reader.tokens):
        said = table[place[:, i]].float()
        apart = said - said.mean(0)
        slope = torch.linalg.solve(gram, centred.T @ apart)  # [k, d]
        stretched = slope * (apart.square().mean() / (centred @ slope).square().mean().clamp(min=1e-12)).sqrt()
        rows = slice(i * reader.hidden_size, (i + 1) * reader.hidden_size)
        reader.linear.weight[rows] = stretched.T / reader.scale
        reader.linear.bias[rows] = (said.mean(0) - taste.mean(0) @ stretched) / reader.scale
        reader.null[i] = said.mean(0)
    out = cast(nn.Linear, reader.net[2])
    out.weight.zero_()
    out.bias.zero_()
