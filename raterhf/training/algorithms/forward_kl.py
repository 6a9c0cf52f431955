"""Forward KL: imitate what simulated raters choose among samples of the reference.

A rater chooses argmax of mean utility plus Gumbel noise, so imitating such choices gives the distribution softmax(mean utility). A round of
sampling and scoring is cut into batches. The options are `choices` and `idiosyncratic`.
"""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.sampler import Sampler
from raterhf.models.draw import sample_keys
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_base import Section
from raterhf.training import losses
from raterhf.training.algorithms.base import Round, Start
from raterhf.training.algorithms.imitation import Demonstrations, Imitation, imitate_rounds


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Choices that each rater makes per prompt, each with noise of its own."""
    idiosyncratic: bool = True
    """Raters choose by noise that likes an answer alike however it is put, so that wording is optimised and answers stay diverse (needs
    raters.idiosyncratic_dim > 0). Without it noise is drawn for each text alone."""


def make(start: Start, options: Settings) -> Imitation:
    return imitate_rounds(start, options.choices, lambda round_: chosen_by_raters(start, options, round_))


def chosen_by_raters(start: Start, options: Settings, step: int) -> Demonstrations:
    """One round: what each rater, with `choices` draws of noise, chooses among samples of the reference."""
    asked = start.ask(step, 0x666B6C)
    chosen = choose(start, asked, options.choices, options.idiosyncratic)
    examples = [example for one in chosen for example in one.examples]
    log = {
        "reward": float(torch.cat([one.score for one in chosen]).mean()),
        "candidates": sum(one.candidates for one in chosen) / len(chosen),
    }
    return Demonstrations(examples, asked.raters.repeat(options.choices * len(chosen)), torch.ones(len(examples)), log)


@dataclass(frozen=True)
class Chosen:
    """What raters chose at one prompt, and its scores: all raters in turn, as often as each chooses; among so many candidates."""

    examples: list[Example]
    score: Tensor
    candidates: int


def choose(start: Start, asked: Round, draws: int, idiosyncratic: bool) -> list[Chosen]:
    """What each rater chooses, `draws` times, among samples of the reference at each prompt."""
    settings, objective, raters = start.settings, start.objective, asked.raters
    n, seed = len(raters), int(asked.rng.integers(2**31))
    pools = candidates(start.of_reference, asked.heads, raters, settings.samples, seed)
    # Every candidate as each rater reads it: the rater's text, where there is one, stands in the prompt.
    read = [[Example(head + answer, len(head)) for head in asked.heads[i]] for i, pool in enumerate(pools) for answer in pool]
    each, repeated = raters[torch.arange(n).repeat(len(read))], [example for row in read for example in row]
    score = objective.scores(repeated, each).view(len(read), n).T
    reference = objective.reference_log_probs(repeated, each).view(len(read), n).T
    utility = losses.mean_utility(score, reference, settings.beta)
    idiosyncratic = idiosyncratic and objective.scorer.model.idiosyncratic is not None
    seed, who = int(asked.rng.integers(2**31)), raters.identities()
    chosen, first = [], 0
    for by_rater, pool in zip(asked.heads, pools, strict=True):
        columns = slice(first, first + len(pool))
        noise = objective.noise([row[0] for row in read[columns]], sample_keys(seed, by_rater * draws, who * draws), idiosyncratic)
        choice = (utility[:, columns].repeat(draws, 1) + noise).argmax(1)
        examples = [read[first + i][row % n] for row, i in enumerate(choice.tolist())]
        chosen.append(Chosen(examples, score[:, columns].repeat(draws, 1).gather(1, choice[:, None])[:, 0], len(pool)))
        first += len(pool)
    return chosen


def candidates(sampler: Sampler, heads: list[list[tuple[int, ...]]], raters: RaterBatch, n: int, seed: int) -> list[list[tuple[int, ...]]]:
    """Different finished completions (token ids) of the reference for each prompt, drawn under the raters in turn.

    `heads` are the prompts by prompt and rater.
    """
    turn = [i % len(raters) for i in range(n)]
    samples = sampler.generate([prompt[i] for prompt in heads for i in turn], raters[turn * len(heads)], seed)
    drawn = [example.ids[example.prompt_length :] for example in samples]
    pools = []
    for first in range(0, len(drawn), n):
        finished = [answer for answer in drawn[first : first + n] if answer[-1] == sampler.eos_id]
        # A prompt whose samples all ran past max_new_tokens keeps one of them: it is still a choice, and the log shows the length.
        pools.append(list(dict.fromkeys(finished)) or [drawn[first]])
    return pools
