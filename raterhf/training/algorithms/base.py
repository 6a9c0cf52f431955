"""What an algorithm is: a file of this folder with `Settings` and `make`. The trainer knows none of them by name.

`Settings` are the keys under `policy.options` that are the algorithm's own, `make(start, options)` gives the `Algorithm` for a stage that
begins with `start`. A new algorithm is one new file; `policy.algorithm` names it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from raterhf.data.comparisons import ComparisonData
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler
from raterhf.errors import UserError
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import PolicySettings
from raterhf.recipe_base import Section
from raterhf.recipe_reader import check_options
from raterhf.training import ranks
from raterhf.training.objective import Objective

PASS = 0x70617373  # salt of the order of prompts

Log = dict[str, Tensor | float]
Said = dict[tuple[int, ...], list[tuple[int, ...]]]


class Algorithm(Protocol):
    """Batches as a function of the step, their loss, and what an interrupted training must remember beside weights."""

    state: dict[str, float]

    def batch(self, step: int) -> Any:
        """What step `step` reads: a function of seed and step alone."""

    def loss(self, batch: Any, step: int) -> tuple[Tensor, Log]:
        """The loss to minimise and what to log of it (under train/)."""


@dataclass(frozen=True)
class Round:
    """Who is asked what: prompts (token ids) by prompt and rater, and without a rater's text, this process's own of them; the raters [n],
    and random numbers of the round, which are all processes' own."""

    heads: list[list[tuple[int, ...]]]
    raters: RaterBatch
    rng: np.random.Generator
    prompts: list[tuple[int, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Start:
    """What a policy stage begins with: the policy to train, what it is optimised for, a sampler of the reference and one of the policy.

    `held` are comparisons of known raters that nothing was trained on. `own_answers` says whether the reference imitates what raters
    answered themselves, or what they chose among others' answers. `said()` are the data's completions of each prompt, in token ids,
    `compared` the comparisons of known raters that the reward model was trained on. What an algorithm puts into `learned` is trained
    beside the policy, and not saved with it.
    """

    policy: Policy
    objective: Objective
    of_reference: Sampler
    of_policy: Sampler
    renderer: Renderer
    prompts: list[str | list[dict]]
    settings: PolicySettings
    seed: int
    held: ComparisonData
    own_answers: bool = True
    said: Callable[[], Said] = dict
    compared: ComparisonData = field(default_factory=ComparisonData.nothing)
    learned: nn.ParameterDict = field(default_factory=nn.ParameterDict)

    def ask(self, step: int, salt: int) -> Round:
        """The prompts and raters of a round, by the algorithm's own `salt`."""
        rng = np.random.default_rng(np.random.SeedSequence([self.objective.seed, step, salt]))
        chosen = self.choose_prompts(step, salt)
        raters, texts = self.objective.draw_raters(self.settings.raters, self.settings.known_share, rng)
        own = chosen[ranks.part(len(chosen))]
        plain = [self.renderer.prompt(prompt) for prompt in own]
        return Round([[self.renderer.prompt(prompt, text) for text in texts] for prompt in own], raters, rng, plain)

    def choose_prompts(self, step: int, salt: int) -> list[str | list[dict]]:
        """The prompts of a round, of which every process answers some: a pass over all in an order drawn for it, then the next pass, each
        without the few that fill no round. Raises UserError where they are fewer than processes."""
        count = min(self.settings.prompts, len(self.prompts))
        if count < ranks.count():
            raise UserError(
                f"policy: {ranks.count()} processes share the prompts of a round, and the data hold {len(self.prompts)} different ones; "
                "train with fewer (trainer.devices, or torchrun's --nproc-per-node)"
            )
        number, place = divmod(step, len(self.prompts) // count)
        order = np.random.default_rng(np.random.SeedSequence([self.objective.seed, number, salt, PASS])).permutation(len(self.prompts))
        return [self.prompts[i] for i in order[place * count : (place + 1) * count]]

    def check_room(self, sampler: Sampler) -> None:
        """Raise UserError where a prompt beside the longest text of a rater leaves no room for an answer."""
        pool = self.objective.pool
        longest = max((pool.by_id(rater).text for rater in pool.known), key=len) if pool is not None else ""
        sampler.check_room([self.renderer.prompt(prompt, longest) for prompt in self.prompts])


def load_algorithm(settings: PolicySettings) -> Callable[[Start], Algorithm]:
    """The algorithm that a recipe's section names, its options checked. Raises UserError that names the option and the nearest one."""
    checked = check_options(
        options_of(settings.algorithm), settings.options, f"policy.algorithm {settings.algorithm}", ("policy", "options")
    )
    module = import_module(f"raterhf.training.algorithms.{settings.algorithm}")
    return lambda start: module.make(start, checked)


def options_of(algorithm: str) -> type[Section]:
    """The keys under `policy.options` that are the algorithm's own."""
    return import_module(f"raterhf.training.algorithms.{algorithm}").Settings
