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

    start.of_reference.check_room(start.prompts)
    return Imitation(start.policy, lambda step: targets(step // parts)[step % parts])


def chosen_by_raters(start: Start, options: Settings, step: int) -> Demonstrations:
    """One round: what each rater, with `choices` draws of noise, chooses among samples of the reference."""
    settings, objective, prompts = start.settings, start.objective, start.prompts
    draws, idiosyncratic = options.choices, options.idiosyncratic and objective.scorer.model.idiosyncratic is not None
    rng = np.random.default_rng(np.random.SeedSequence([objective.seed, step, 0x666B6C]))
    chosen = [prompts[i] for i in rng.choice(len(prompts), size=min(settings.prompts, len(prompts)), replace=False)]
    raters = objective.draw_raters(settings.raters, settings.known_share, rng)
    pools = candidates(start.of_reference, chosen, raters, settings.samples, int(rng.integers(2**31)))
    flat = [example for pool in pools for example in pool]
    rater = torch.arange(len(raters)).repeat(len(flat))
    repeated = [example for example in flat for _ in range(len(raters))]
    score = objective.scores(repeated, raters[rater]).view(len(flat), len(raters)).T
    reference = objective.reference_log_probs(repeated, raters[rater]).view(len(flat), len(raters)).T
    utility = losses.mean_utility(score, reference, settings.beta)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    examples, picked, first = [], [], 0
    for pool in pools:
        columns = slice(first, first + len(pool))
        noise = objective.noise(pool, len(raters) * draws, generator, idiosyncratic)
        choice = (utility[:, columns].repeat(draws, 1) + noise).argmax(1)
        examples += [pool[i] for i in choice.tolist()]
        picked.append(score[:, columns].repeat(draws, 1).gather(1, choice[:, None]))
        first += len(pool)
    log = {"reward": float(torch.cat(picked).mean()), "candidates": len(flat) / len(pools)}
    return Demonstrations(examples, raters.repeat(draws * len(pools)), torch.ones(len(examples)), log)


def candidates(sampler: Sampler, prompts: list[tuple[int, ...]], raters: RaterBatch, n: int, seed: int) -> list[list[Example]]:
    """Different finished samples of the reference for each prompt, drawn under the raters in turn."""
    rater = torch.arange(n).repeat(len(prompts)) % len(raters)
    repeated = [prompt for prompt in prompts for _ in range(n)]
    samples = sampler.generate(repeated, raters[rater], seed)
    pools = []
    for i in range(len(prompts)):
        finished = [e for e in samples[i * n : (i + 1) * n] if e.ids[-1] == sampler.eos_id]
        # A prompt whose samples all ran past max_new_tokens keeps one of them: it is still a choice, and the log shows the length.
        pools.append(list(dict.fromkeys(finished)) or samples[i * n : i * n + 1])
    return pools
