"""Reword: what is said stays as people say it, how it is put is optimised.

Optimising for reward moves two things at once: which answer is given, and how it is put. Raters differ in the first, and it is what
collapses; so only the second is moved here. Each rater's answers are drawn from the reference, which has the distribution of what people
say: its own samples where it imitates raters' own answers, else what the rater chooses among them by noise (forward KL). Of all the
completions of a prompt that say the same as an answer, the policy imitates the one of greatest

    s(y) + beta log ref(y) + same * cos(psi(y), psi(answer)),

psi being the features of `models/idiosyncratic.py`. So the reward never changes how often an answer is given. How an answer is put is
judged by s = nobody's score + trust * (the rater's - nobody's), with the trust in [0, 1] that held-out comparisons of alike answers bear
out. The options are `choices`, `near` and `same`.

Completions come from the reference alone, so that a step is a function of seed and step.
"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from raterhf.data.example import Example
from raterhf.log import log
from raterhf.models.idiosyncratic import IdiosyncraticTaste, make_idiosyncratic
from raterhf.models.place import place
from raterhf.raters.batch import RaterBatch
from raterhf.recipe_base import Section
from raterhf.training import losses
from raterhf.training.algorithms.base import Round, Start
from raterhf.training.algorithms.forward_kl import choose
from raterhf.training.algorithms.imitation import Demonstrations, Imitation, imitate_rounds

ENOUGH = 50  # held-out comparisons that the trust is fitted to at least
DIM = 64  # of the features where the reward model has none


class Settings(Section):
    choices: int = Field(4, ge=1)
    """Answers of each rater to each prompt that are put in other words."""
    near: float = Field(0.5, ge=0, le=1)
    """Cosine of two completions' features from which on they may say the same."""
    same: float = Field(10.0, ge=0)
    """Weight of that cosine against the score, in units of the noise of human choice."""


def make(start: Start, options: Settings) -> Imitation:
    return imitate_rounds(start, options.choices, Rewording(start, options))


@dataclass(frozen=True)
class _Candidates:
    """All `examples` with the raters who might say them, and for each answer: its candidates among them, how alike each is to it, and
    which of them is the answer itself."""

    examples: list[Example]
    rater: list[int]
    answers: list[tuple[slice, Tensor, int]]


class Rewording:
    """Rounds of answers put in the best words that were found for them."""

    def __init__(self, start: Start, options: Settings):
        self.start, self.options, self.psi = start, options, features_of(start)
        self.sampler = start.of_reference.leaving_out(start.settings.min_p)
        self.trust = fit_trust(start, self.psi, options.near)

    def __call__(self, step: int) -> Demonstrations:
        start, asked = self.start, self.start.ask(step, 0x726577)
        found = _Candidates([], [], [])
        for heads, said in zip(asked.heads, self.said(asked), strict=True):
            self.look_up(found, heads, said)
        examples, raters = found.examples, asked.raters[found.rater]
        score = self.score(examples, raters)
        worth = score + start.settings.beta * start.objective.reference_log_probs(examples, raters)
        before = torch.tensor([span.start + i for span, _, i in found.answers])
        best = torch.tensor([span.start + int((worth[span] + self.options.same * alike).argmax()) for span, alike, _ in found.answers])
        told = {"reward": score[best].mean(), "reward_before": score[before].mean(), "reworded": (best != before).float().mean()}
        told = {key: float(value) for key, value in told.items()} | {"candidates": len(examples) / len(best)}
        return Demonstrations([examples[i] for i in best.tolist()], raters[best], torch.ones(len(best)), told)

    def look_up(self, found: "_Candidates", heads: list[tuple[int, ...]], said: list[list[tuple[int, ...]]]) -> None:
        """Add what says the same as one of a rater's answers to a prompt, for each rater."""
        pool = list(dict.fromkeys(answer for by_rater in said for answer in by_rater))
        place = {answer: i for i, answer in enumerate(pool)}
        features = self.psi([Example(heads[0] + answer, len(heads[0])) for answer in pool])
        alike = features @ features.T
        for r, by_rater in enumerate(said):
            own = [place[answer] for answer in by_rater]
            near = (alike[own] >= self.options.near).any(0).nonzero()[:, 0].tolist()
            span = slice(len(found.examples), len(found.examples) + len(near))
            found.examples.extend(Example(heads[r] + pool[i], len(heads[r])) for i in near)
            found.rater.extend([r] * len(near))
            found.answers.extend((span, alike[i, near], near.index(i)) for i in own)

    def said(self, asked: Round) -> list[list[list[tuple[int, ...]]]]:
        """Completions (token ids) by prompt and rater, distributed as people's answers are."""
        start, n, count = self.start, len(asked.raters), self.options.choices
        if start.own_answers:
            every = [head for by_rater in asked.heads for head in by_rater for _ in range(count)]
            raters = asked.raters.repeat(len(asked.heads)).repeat_each(count)
            drawn = self.sampler.generate(every, raters, int(asked.rng.integers(2**31)))
            rows = [drawn[i : i + count] for i in range(0, len(drawn), count)]
        else:
            chosen = choose(start, asked, count, idiosyncratic=True)
            rows = [one.examples[r::n] for one in chosen for r in range(n)]
        # Whose answers all ran past max_new_tokens keeps one of them.
        kept = [[e for e in row if e.ids[-1] == self.sampler.eos_id] or row[:1] for row in rows]
        said = [[e.ids[e.prompt_length :] for e in row] for row in kept]
        return [said[i : i + n] for i in range(0, len(said), n)]

    def score(self, examples: list[Example], raters: RaterBatch) -> Tensor:
        """What completions [N] are worth to their raters, as far as those are trusted."""
        objective = self.start.objective
        if self.trust == 1:
            return objective.scores(examples, raters)
        nobody = objective.scores(examples, RaterBatch.nobody(len(examples), objective.scorer.device))
        return torch.lerp(nobody, objective.scores(examples, raters), self.trust) if self.trust else nobody


def features_of(start: Start) -> IdiosyncraticTaste:
    """psi of the reward model; made here where that has none, as those of raters by text and of nobody."""
    if (psi := start.objective.scorer.model.idiosyncratic) is not None:
        return psi
    psi = place(make_idiosyncratic(DIM, start.policy.lm, start.renderer.tokenizer), start.objective.scorer.device)
    psi.weigh(start.held.judged)
    return psi


def fit_trust(start: Start, psi: IdiosyncraticTaste, near: float) -> float:
    """The weight of a rater's own score beside nobody's in how an answer is put, from held-out comparisons of completions that are alike.

    1 where there are too few of them, or no raters by vector. 0: raters do not differ in it, as far as the reward model knows.
    """
    held, pool = start.held, start.objective.pool
    if pool is None or pool.encoding != "embedding" or not len(held):
        return 1.0
    features = psi(held.examples)
    alike = (features[held.a] * features[held.b]).sum(1).cpu().numpy() >= near
    rows = held.rows(np.flatnonzero(alike & (held.label != 0)))
    if len(rows) < ENOUGH:
        log.info(
            f"  policy: {len(rows)} held-out comparisons of texts that say the same, fewer than {ENOUGH}: raters' own scores are trusted"
        )
        return 1.0
    known = RaterBatch.people(torch.tensor(pool.vectors[rows.rater])).to(start.objective.scorer.device)

    def margins(raters: RaterBatch) -> Tensor:
        a, b = (start.objective.scores([rows.examples[i] for i in side], raters) for side in (rows.a, rows.b))
        return (a - b).cpu()

    trust = losses.best_mixture(margins(known), margins(RaterBatch.nobody(len(rows))), torch.as_tensor(rows.label))
    log.info(f"  policy: in how an answer is put a rater's own score is trusted by {trust:.2f} ({len(rows)} held-out comparisons)")
    return trust
