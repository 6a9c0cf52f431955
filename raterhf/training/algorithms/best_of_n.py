"""Best of n: imitate the completion that a rater likes best among samples of the reference (expert iteration, Anthony et al. 2017; FeedME).

Nothing but the number of samples keeps the distribution of answers. The option is `choices`.
"""

import torch
from pydantic import Field

from raterhf.recipe_base import Section
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import Demonstrations, Imitation, imitate_rounds


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Completions of each rater to each prompt that are imitated, each the best of `policy.samples`."""


def make(start: Start, options: Settings) -> Imitation:
    return imitate_rounds(start, options.choices, lambda round_: best(start, options, round_))


def best(start: Start, options: Settings, step: int) -> Demonstrations:
    """One round: for each prompt, rater and choice the sample of greatest score."""
    asked, n = start.ask(step, 0x626F6E), start.settings.samples
    heads = [head for by_rater in asked.heads for head in by_rater for _ in range(options.choices)]
    raters = asked.raters.repeat(len(asked.heads)).repeat_each(options.choices)
    each = raters.repeat_each(n)
    drawn = start.of_reference.generate([head for head in heads for _ in range(n)], each, int(asked.rng.integers(2**31)))
    score = start.objective.scores(drawn, each).view(len(heads), n)
    reward, choice = score.max(1)
    examples = [drawn[i * n + k] for i, k in enumerate(choice.tolist())]
    return Demonstrations(examples, raters, torch.ones(len(examples)), {"reward": float(reward.mean()), "candidates": float(n)})
