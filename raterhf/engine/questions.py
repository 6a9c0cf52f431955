"""What to ask a person next: pairs of completions, by how much their label is expected to tell of the person's taste."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raterhf.data.example import Example
from raterhf.data.renderer import Renderer
from raterhf.data.requests import Prompt
from raterhf.engine.checks import fault_finder
from raterhf.engine.margins import margins_of
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.raters.asking import propose
from raterhf.raters.inference import Noise
from raterhf.raters.population import Population

MOST = {"head": 2000}  # pairs looked at; where the trunk reads the rater each costs passes for every dimension of taste
MOST_READ = 200


@dataclass(frozen=True)
class Question:
    """Two completions of a prompt to compare; `information` is what the label is expected to tell, in nats, after those before it."""

    prompt: Prompt
    a: str
    b: str
    information: float


def next_questions(
    scorer: Scorer, renderer: Renderer, noise: Noise, taste: Population, pairs: Sequence[tuple[Prompt, str, str]], count: int, seed: int
) -> list[Question]:
    """The `count` most telling of `pairs` for a person who is `taste`. Pairs that do not fit the model are left out, and counted.

    Of very many pairs some are looked at, drawn by the seed. Raises UserError where none is left.
    """
    most = MOST.get(scorer.model.conditioning, MOST_READ)
    if len(pairs) > most:
        log.info(f"  {most} of {len(pairs)} pairs are looked at, drawn by the seed")
        drawn = np.random.default_rng(np.random.SeedSequence([seed, 0x61736B])).permutation(len(pairs))[:most]
        pairs = [pairs[i] for i in sorted(drawn)]
    fault = fault_finder(scorer.model)
    kept: list[tuple[Prompt, str, str]] = []
    sides: tuple[list[Example], list[Example]] = ([], [])
    for prompt, a, b in pairs:
        try:
            both = [renderer.example(prompt, answer) for answer in (a, b)]
        except UserError:
            continue
        if not any(map(fault, both)):
            kept.append((prompt, a, b))
            for side, example in zip(sides, both):
                side.append(example)
    if len(kept) < len(pairs):
        log.warning(f"  {len(pairs) - len(kept)} of {len(pairs)} pairs are longer than the model's window and are not asked")
    if not kept:
        raise UserError("no pair is left to ask about; give a file with other completions")
    mean = taste.weights @ taste.means / taste.weights.sum()
    margin, slope = margins_of(scorer, *sides, np.zeros(len(kept), np.int64))(mean[None])
    chosen, told = propose(margin, slope, taste.covariance(), noise, count)
    return [Question(*kept[row], round(nats, 6)) for row, nats in zip(chosen, told)]
