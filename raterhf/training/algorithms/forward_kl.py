"""Forward KL: imitate what simulated raters choose among samples of the reference.

A rater chooses argmax of mean utility plus Gumbel noise, so imitating such choices gives the distribution softmax(mean utility). A round of
sampling and scoring is cut into batches. The options are `choices` and `idiosyncratic`.
"""

from functools import lru_cache

import numpy as np
import torch
from pydantic import Field

from raterhf.data.example import Example
from raterhf.engine.sampler import Sampler
from raterhf.models.draw import sample_keys
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import Section
from raterhf.training import losses
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.imitation import Demonstrations, Imitation


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Choices that each rater makes per prompt, each with noise of its own."""
    idiosyncratic: bool = True
    """Raters choose by noise that likes an answer alike however it is put, so that wording is optimised and answers stay diverse (needs
    raters.idiosyncratic_dim > 0). Without it noise is drawn for each text alone."""


def make(start: Start, options: Settings) -> Imitation:
    settings = start.settings
    parts = max(1, settings.prompts * settings.raters * options.choices // settings.batch_size)

    @lru_cache(maxsize=1)
    def targets(round_: int) -> list[Demonstrations]:
        return chosen_by_raters(start, options, round_).split(parts)

    start.check_room(start.of_reference)
    return Imitation(start.policy, lambda step: targets(step // parts)[step % parts])


def chosen_by_raters(start: Start, options: Settings, step: int) -> Demonstrations:
    """One round: what each rater, with `choices` draws of noise, chooses among samples of the reference."""
    settings, objective, prompts = start.settings, start.objective, start.prompts
    draws, idiosyncratic = options.choices, options.idiosyncratic and objective.scorer.model.idiosyncratic is not None
    rng = np.random.default_rng(np.random.SeedSequence([objective.seed, step, 0x666B6C]))
    chosen = [prompts[i] for i in rng.choice(len(prompts), size=min(settings.prompts, len(prompts)), replace=False)]
    raters, texts = objective.draw_raters(settings.raters, settings.known_share, rng)
    n = len(raters)
    heads = [[start.renderer.prompt(prompt, text) for text in texts] for prompt in chosen]
    pools = candidates(start.of_reference, heads, raters, settings.samples, int(rng.integers(2**31)))
    # Every candidate as each rater reads it: the rater's text, where there is one, stands in the prompt.
    read = [[Example(head + answer, len(head)) for head in heads[i]] for i, pool in enumerate(pools) for answer in pool]
    each, repeated = raters[torch.arange(n).repeat(len(read))], [example for row in read for example in row]
    score = objective.scores(repeated, each).view(len(read), n).T
    reference = objective.reference_log_probs(repeated, each).view(len(read), n).T
    utility = losses.mean_utility(score, reference, settings.beta)
    seed, who = int(rng.integers(2**31)), raters.identities()
    examples, picked, first = [], [], 0
    for by_rater, pool in zip(heads, pools, strict=True):
        columns = slice(first, first + len(pool))
        noise = objective.noise([row[0] for row in read[columns]], sample_keys(seed, by_rater * draws, who * draws), idiosyncratic)
        choice = (utility[:, columns].repeat(draws, 1) + noise).argmax(1)
        examples += [read[first + i][row % n] for row, i in enumerate(choice.tolist())]
        picked.append(score[:, columns].repeat(draws, 1).gather(1, choice[:, None]))
        first += len(pool)
    log = {"reward": float(torch.cat(picked).mean()), "candidates": len(read) / len(pools)}
    return Demonstrations(examples, raters.repeat(draws * len(pools)), torch.ones(len(examples)), log)


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
