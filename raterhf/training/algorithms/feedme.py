"""FeedME: imitate the samples that were rated best, whosever they are (OpenAI's model index of 2022: "supervised fine-tuning on
human-written demonstrations and on model samples rated 7/7 by human labelers"; in statistics the cross-entropy method, Rubinstein 1999).

The samples are the reference's, `policy.samples` of each rater to each prompt, rated for their rater by the reward model. Of all samples of
a prompt the best are imitated, so that who is easily pleased is imitated more: best_of_n takes the best of every rater instead. The option
is `choices`.
"""

import torch
from pydantic import Field

from raterhf.errors import UserError
from raterhf.recipe_base import Section
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import Demonstrations, Imitation, imitate_rounds


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Samples that are imitated of each prompt, in the mean over its raters: choices / policy.samples is the share that was rated best."""


def make(start: Start, options: Settings) -> Imitation:
    if options.choices > start.settings.samples:
        raise UserError(
            f"policy.options.choices is {options.choices}, and each rater has policy.samples={start.settings.samples}, of which the best "
            "are imitated; lower choices, or raise policy.samples"
        )
    return imitate_rounds(start, options.choices, lambda round_: best_rated(start, options, round_))


def best_rated(start: Start, options: Settings, step: int) -> Demonstrations:
    """One round: of each prompt's samples those of greatest score."""
    asked, n = start.ask(step, 0x66656564), start.settings.samples
    heads = [head for by_rater in asked.heads for head in by_rater for _ in range(n)]
    raters = asked.raters.repeat(len(asked.heads)).repeat_each(n)
    drawn = start.of_reference.generate(heads, raters, int(asked.rng.integers(2**31)))
    score = start.objective.scores(drawn, raters).view(len(asked.heads), -1)
    best, place = score.topk(options.choices * len(asked.raters), dim=1)
    rows = (place + score.shape[1] * torch.arange(len(score), device=place.device)[:, None]).flatten().tolist()
    told = {"reward": float(best.mean()), "reward_before": float(score.mean()), "candidates": float(n)}
    return Demonstrations([drawn[i] for i in rows], raters[rows], torch.ones(len(rows)), told)
