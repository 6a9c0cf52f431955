"""Conditioning on the rating: imitate samples of every quality under what they were rated, and ask for the best (decision transformer, Chen
et al. 2021; for language Quark, Lu et al. 2022, eq. 1, without its penalty).

The samples are the reference's, `policy.samples` of each rater to each prompt; their rating is the quantile of the score among the samples
of the same rater and prompt, in `ratings` equal bins. A rating enters as Quark's reward token does, before the prompt: a learned vector is
added to the rater's soft tokens, none for the best rating. So the policy that is saved is the one that is asked for the best, and reads as
any other. All samples are imitated, of which a part is best: what is imitated is what is sampled. The option is `ratings`.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from raterhf.errors import UserError
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import PrefixReader
from raterhf.recipe_base import Section
from raterhf.training.algorithms.base import Log, Start
from raterhf.training.algorithms.imitation import Demonstrations, imitate_rounds


class Settings(Section):
    ratings: int = Field(5, ge=2)
    """How many ratings there are. The best is that of the best 1 / ratings of policy.samples."""


class RatedReader(nn.Module):
    """A policy's reader under a rating: reads vectors [z, rating], the rating as one-hot [ratings] of which the last is the best, and adds
    to the soft tokens what `lower` [ratings - 1, m d] says of the others."""

    def __init__(self, inner: PrefixReader, lower: nn.Parameter):
        super().__init__()
        self.inner, self.lower = inner, lower
        self.dim, self.tokens = inner.dim + len(lower) + 1, inner.tokens

    def forward(self, raters: RaterBatch) -> Tensor:
        taste, rating = raters.taste(self.dim).split([self.inner.dim, len(self.lower) + 1], 1)
        read = self.inner(RaterBatch(taste, raters.null))
        return read + self.inner.scale * (rating[:, :-1] @ self.lower).view_as(read)


def make(start: Start, options: Settings) -> "RatingConditioned":
    if start.policy.reader is None:
        raise UserError("policy.algorithm rating_conditioned adds a rating to a rater's soft tokens; set raters.encoding to embedding")
    if start.settings.samples < options.ratings:
        raise UserError(
            f"policy.options.ratings is {options.ratings}, and a rater's policy.samples={start.settings.samples} to a prompt are rated "
            "beside each other; lower the ratings, or raise policy.samples"
        )
    return RatingConditioned(start, options)


class RatingConditioned:
    """Imitation of all samples of a round, each under what it was rated."""

    def __init__(self, start: Start, options: Settings):
        reader = start.policy.reader
        assert reader is not None
        lower = torch.zeros(options.ratings - 1, reader.tokens * reader.hidden_size, device=reader.null.device)
        start.learned["ratings"] = nn.Parameter(lower)
        self.start, self.rated = start, RatedReader(reader, start.learned["ratings"])
        self.imitation = imitate_rounds(start, start.settings.samples, lambda round_: self.rate(options.ratings, round_))
        self.batch, self.state = self.imitation.batch, self.imitation.state

    def rate(self, ratings: int, round_: int) -> Demonstrations:
        """One round: every sample under its rater and rating, of nobody in particular, who reads no vector, the best alone."""
        start, asked = self.start, self.start.ask(round_, 0x72617465)
        n = start.settings.samples
        heads = [head for by_rater in asked.heads for head in by_rater for _ in range(n)]
        raters = asked.raters.repeat(len(asked.heads)).repeat_each(n)
        drawn = start.of_reference.generate(heads, raters, int(asked.rng.integers(2**31)))
        score = start.objective.scores(drawn, raters)
        rating = quantiles(score.view(-1, n), ratings).flatten()
        hot = nn.functional.one_hot(rating, ratings).to(raters.vectors)
        under = RaterBatch(torch.cat([raters.taste(self.rated.inner.dim), hot], 1), raters.null)
        best = rating == ratings - 1
        rows = (~raters.null | best).nonzero()[:, 0].tolist()
        told = {"reward": float(score[best].mean()), "reward_before": float(score.mean()), "candidates": float(n)}
        return Demonstrations([drawn[i] for i in rows], under[rows], torch.ones(len(rows)), told)

    def loss(self, batch: Demonstrations, step: int) -> tuple[Tensor, Log]:
        policy = self.start.policy
        policy.reader, plain = self.rated, policy.reader  # type: ignore[assignment]
        try:
            return self.imitation.loss(batch, step)
        finally:
            policy.reader = plain


def quantiles(score: Tensor, ratings: int) -> Tensor:
    """In which of so many equal parts of its row a score [G, S] lies, from 0, the worst; equal scores as they come."""
    place = score.argsort(dim=1, stable=True).argsort(dim=1)
    return place * ratings // score.shape[1]
