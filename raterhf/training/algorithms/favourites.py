"""Favourites: imitate what raters would choose among everything that the data hold for a prompt.

A rater chooses argmax of s / beta plus Gumbel noise, so a policy that imitates such choices says y with probability softmax(s(y) / beta):
at beta 1 as often as raters would choose it (Luce 1959), below it nearer to what they like best. Nothing is sampled from a policy, so a
round costs next to nothing; but only what people wrote can be chosen. For data in which many raters judged the same texts.

Which text it is shows in its first tokens, and how it goes on has little to do with the rater. So of most choices an opening can be
imitated alone, and as many tokens tell of many more choices. The options are `choices`, `opening` and `idiosyncratic`.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from pydantic import Field
from torch import Tensor

from raterhf.data.example import Example
from raterhf.errors import UserError
from raterhf.models.draw import sample_keys
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_base import Section
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import Demonstrations, Imitation, imitate_rounds


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Choices that each rater makes per prompt, each with noise of its own."""
    opening: int | None = Field(None, ge=1)
    """Tokens that are imitated of all choices but a rater's first, which is imitated whole. Without it all are."""
    idiosyncratic: bool = True
    """Raters choose by noise that likes an answer alike however it is put (needs raters.idiosyncratic_dim > 0). Without it noise is drawn
    for each text alone."""


def make(start: Start, options: Settings) -> Imitation:
    return imitate_rounds(start, options.choices, Favourites(start, options))


class Favourites:
    """Rounds of choices among the data's completions. Raises UserError where there are none to choose among."""

    def __init__(self, start: Start, options: Settings):
        self.start, self.options, self.said = start, options, start.said()
        if not any(len(answers) > 1 for answers in self.said.values()):
            raise UserError(
                "policy.algorithm favourites chooses among the completions that the data hold for a prompt, and no prompt has two; "
                "use reword or forward_kl, which choose among samples"
            )
        self.scores = lru_cache(maxsize=None)(self._scores)  # texts are read once, whoever is asked

    def _scores(self, prompt: tuple[int, ...]) -> Callable[[RaterBatch], Tensor]:
        return self.start.objective.scorer.scores_for(self._texts(prompt))

    def _texts(self, prompt: tuple[int, ...]) -> list[Example]:
        return [Example(prompt + answer, len(prompt)) for answer in self.said[prompt]]

    @torch.no_grad()
    def __call__(self, step: int) -> Demonstrations:
        asked, objective = self.start.ask(step, 0x666176), self.start.objective
        raters, draws = asked.raters, self.options.choices
        idiosyncratic = self.options.idiosyncratic and objective.scorer.model.idiosyncratic is not None
        seed, who = int(asked.rng.integers(2**31)), raters.identities()
        examples, worth, candidates = [], [], 0
        for prompt, by_rater in zip(asked.prompts, asked.heads, strict=True):
            if prompt not in self.said:  # only validation raters answered it
                continue
            said, score = self.said[prompt], self.scores(prompt)(raters).repeat(draws, 1)
            noise = objective.noise(self._texts(prompt), sample_keys(seed, by_rater * draws, who * draws), idiosyncratic)
            choice = (score / self.start.settings.beta + noise).argmax(1)
            candidates += len(said)
            worth.append(score.gather(1, choice[:, None])[:, 0])
            for i, chosen in enumerate(choice.tolist()):
                head, answer = by_rater[i % len(by_rater)], said[chosen]
                examples.append(Example(head + (answer if i < len(by_rater) else answer[: self.options.opening]), len(head)))
        # One of several processes may have been given prompts of validation raters alone.
        log = {"reward": float(torch.cat(worth).mean()) if worth else 0.0, "candidates": candidates / max(1, len(worth))}
        return Demonstrations(examples, raters.repeat(draws * len(worth)), torch.ones(len(examples)), log)
