"""The core loop: scores of many completions for many raters, in length-sorted batches of bounded size. The one place that scores.

It takes rendered examples and rater vectors, never text. Scores come back in input order whatever the batching was.

Notation: K raters, N examples, k dimensions of taste, o of own noise.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raterhf.data.batches import Batch, Example, budget_batches, collate
from raterhf.models.own_noise import gumbel_of_normal
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel

TOKEN_BUDGET = 8192


def in_batches(
    run: Callable[[Batch, Tensor], Tensor | tuple[Tensor, ...]], examples: Sequence[Example], pad_id: int, device: torch.device,
    token_budget: int = TOKEN_BUDGET,
) -> Tensor | tuple[Tensor, ...]:  # fmt: skip
    """Apply `run(batch, rows)` to length-sorted batches; its per-row results are put back in input order. Differentiable."""
    batches = budget_batches([len(e) for e in examples], token_budget)
    parts = []
    for rows in batches:
        batch = collate([examples[i] for i in rows], pad_id).to(device)
        parts.append(run(batch, torch.as_tensor(rows, device=device)))
    back = torch.empty(len(examples), dtype=torch.long, device=device)
    back[torch.cat([torch.as_tensor(rows, device=device) for rows in batches])] = torch.arange(len(examples), device=device)
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(column)[back] for column in zip(*parts))
    return torch.cat(parts)[back]


class Scorer:
    """Scores with one reward model. Gradients flow unless the caller turns them off."""

    def __init__(self, model: RewardModel, pad_id: int, token_budget: int = TOKEN_BUDGET):
        self.model, self.pad_id, self.token_budget = model, pad_id, token_budget

    @property
    def device(self) -> torch.device:
        return self.model.head.weight.device

    def pairs(self, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None) -> Tensor:
        """Score [N] of each example for its own rater: `vectors` [N, k], `null` [N] (both None for a rater-free model).

        Where the trunk does not read the rater, an example that comes several times goes through it once.
        """
        model = self.model
        if model.reader is not None and model.site == "prefix":
            return self._batched(lambda batch, rows: model(batch, vectors[rows], null[rows]), examples)
        place = {example: i for i, example in enumerate(dict.fromkeys(examples))}
        back = torch.tensor([place[example] for example in examples], device=self.device)
        if model.reader is None:
            return self._batched(lambda batch, rows: model(batch), list(place))[back]
        states = self._batched(lambda batch, rows: model.trunk(batch), list(place))
        return model.read(states[back], vectors, null)

    def _batched(self, run: Callable, examples: Sequence[Example]) -> Tensor:
        return in_batches(run, examples, self.pad_id, self.device, self.token_budget)

    def matrix(self, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None, n_raters: int = 1) -> Tensor:
        """Scores [K, N] of every example for every rater: `vectors` [K, k], `null` [K]."""
        if self.model.reader is None:
            return self.pairs(examples, None, None).expand(n_raters, -1)
        return self.reader_of(examples)(vectors, null)

    def reader_of(self, examples: Sequence[Example]) -> Callable[[Tensor, Tensor], Tensor]:
        """A function of raters (`vectors` [K, k], `null` [K]) that gives scores [K, N], for asking about the same examples again.

        Where the trunk does not read the rater it runs once, here.
        """
        if self.model.site == "head":
            states = self._batched(lambda batch, rows: self.model.trunk(batch), examples)
            return lambda vectors, null: self.model.weights(vectors, null) @ states.T

        def every_pair(vectors: Tensor, null: Tensor) -> Tensor:
            rater = torch.arange(len(vectors), device=self.device).repeat_interleave(len(examples))
            return self.pairs(list(examples) * len(vectors), vectors[rater], null[rater]).view(len(vectors), len(examples))

        return every_pair

    def persistent_share(self, examples: Sequence[Example]) -> Tensor:
        """The share [N] of raters' noise at these prompts that persists."""
        features = self._batched(lambda batch, rows: self.model.prompt_features(batch), [e.prompt for e in examples])
        return self.model.own_noise.share(features)

    def utility(self, examples: Sequence[Example], raters: Tensor, null: Tensor) -> Tensor:
        """Whole utilities [K, N]: score plus own persistent noise, for raters [K, k + o]. The null rater has no own noise."""
        if self.model.reader is None:
            return self.matrix(examples, None, None, len(raters))
        width = self.model.reader.dim
        score = self.matrix(examples, raters[:, :width], null)
        if self.model.own_noise is None:
            return score
        noise = gumbel_of_normal(raters[:, width:] @ self.model.own_noise(examples).T)
        return score + torch.where(null[:, None], 0.0, self.persistent_share(examples).sqrt() * noise)


def completion_log_probs(
    policy: Policy, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None, pad_id: int, token_budget: int = TOKEN_BUDGET
) -> tuple[Tensor, Tensor]:
    """Log-probability [N] and summed next-token entropy [N] of each completion under its rater. Differentiable."""

    def run(batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        if policy.reader is None:
            return policy.log_probs(batch)
        return policy.log_probs(batch, vectors[rows], null[rows])

    return in_batches(run, examples, pad_id, policy.lm.device, token_budget)
