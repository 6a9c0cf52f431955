"""Scores of completions while they grow: what was read stays in a cache, so that each call reads the new tokens alone.

For search and steering, where a jury looks at every step of many unfinished completions. Exact: after any number of steps the scores are
those of `Scorer.matrix` for the completions as they stand. A step that fails leaves the session as it was.

Notation: K raters, N completions, B branches: N where the trunk reads no rater, K * N where it reads the rater first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from raterhf.data.example import Example
from raterhf.engine.checks import check_examples, check_raters, check_scores
from raterhf.engine.growing import Growing
from raterhf.engine.passes import sums
from raterhf.engine.plan import Segment
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.raters.batch import RaterBatch


class Session:
    """One scorer, N prompts (token ids, equal ones read once), K raters, which a rater-free model does not read."""

    def __init__(self, scorer: Scorer, prompts: Sequence[tuple[int, ...]], raters: RaterBatch):
        if not prompts:
            raise UserError("no prompts; a session needs one at least")
        if scorer.deterministic:
            raise UserError("a session reads texts piece by piece, so that scores are not deterministic=True's to the bit; leave it out")
        prompts, model = [tuple(prompt) for prompt in prompts], scorer.model
        # A prompt leaves room for an answer.
        check_examples(model, [Example((*prompt, 0), len(prompt)) for prompt in prompts])
        self.scorer, self.texts = scorer, [Example(prompt, len(prompt)) for prompt in prompts]
        self.raters = raters = raters.to(scorer.device)
        self.conditioning = model.conditioning if model.reader is not None else None
        if self.conditioning is not None:
            check_raters(model, raters)
        with torch.no_grad():
            soft = model.reader(raters) if model.reader is not None and self.conditioning in ("prefix", "suffix") else None
            self.grown = Growing(model.backbone, soft)
            self.weights = model.weights(raters) if self.conditioning == "head" else model.scale * model.head.weight
            budget = scorer.token_budget
            roots = self._read(list(range(len(raters))), [-1] * len(raters), budget)[0] if self.conditioning == "prefix" else [-1]
            different = list(dict.fromkeys(prompts))
            place, _ = self._read(different * len(roots), [root for root in roots for _ in different], budget)
        # The last segment that each branch has read.
        self.tip = [place[r * len(different) + different.index(prompt)] for r in range(len(roots)) for prompt in prompts]
        self.total = model.head.weight.new_zeros(len(self.tip), model.head.in_features)

    @torch.no_grad()
    def extend(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Scores [K, N] (K = 1 for a rater-free model) of the completions so far, to each of which `tokens` [N] are added first."""
        n = len(self.texts)
        if len(tokens) != n:
            raise UserError(f"{len(tokens)} continuations for {n} completions; give one for each, empty where nothing is new")
        longer = [Example((*e.ids, *new), e.prompt_length) for e, new in zip(self.texts, tokens)]
        check_examples(self.scorer.model, longer)
        try:
            return self._grown(longer, tokens, self.scorer.token_budget)
        except torch.OutOfMemoryError:
            pass  # as in `Scorer`: what failed is freed outside the handler, and half is tried once
        return self._grown(longer, tokens, max(1, self.scorer.token_budget // 2))

    def _grown(self, longer: list[Example], tokens: Sequence[Sequence[int]], budget: int) -> Tensor:
        n = len(longer)
        with self._undone_where_it_fails(), self.grown.undone_where_it_fails():
            grown = [b for b in range(len(self.tip)) if len(tokens[b % n])]
            if grown:
                place, added = self._read([tuple(tokens[b % n]) for b in grown], [self.tip[b] for b in grown], budget)
                self.total = self.total.index_add(0, torch.tensor(grown, device=self.total.device), added)
                moved = dict(zip(grown, place))
                self.tip = [moved.get(b, tip) for b, tip in enumerate(self.tip)]
            self.texts = longer
            return check_scores(self.scorer.model, self._scores(budget), longer, self.raters)

    def _scores(self, budget: int) -> Tensor:
        n, head = len(self.texts), self.scorer.model.head.weight
        if self.conditioning == "suffix":
            assert self.grown.soft is not None
            raters = range(len(self.grown.soft))
            _, total = self._read([r for r in raters for _ in self.tip], self.tip * len(raters), budget, keep=False)
            return (total / self.grown.soft.shape[1] * self.weights).sum(-1).view(len(raters), n)
        lengths = torch.tensor([len(e) - e.prompt_length for e in self.texts], device=head.device)
        means = self.total.view(-1, n, head.shape[1]) / lengths[:, None]
        return self.weights @ means[0].T if self.conditioning == "head" else (means * self.weights).sum(-1)

    @property
    def tokens_read(self) -> int:
        return self.grown.tokens_read

    @contextmanager
    def _undone_where_it_fails(self) -> Iterator[None]:
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).update(before)
            raise

    def _read(
        self, segments: Sequence[Segment], parents: Sequence[int], budget: int, keep: bool = True
    ) -> tuple[list[int], Tensor]:  # fmt: skip
        """The numbers of these segments where kept, and the sums [S, d] of their hidden states."""
        return self.grown.read(segments, parents, budget, lambda *read: sums(*read)[0], keep)
