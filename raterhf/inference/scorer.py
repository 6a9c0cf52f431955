"""The core loop: scores of many completions for many raters. The one place that scores.

It takes rendered examples and rater vectors, never text; plans what is shared (`plan.py`) and runs it without padding
(`models/shared.py`). Scores come back in input order whatever the plan was.

Notation: K raters, N examples, k dimensions of taste, o of own noise.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from raterhf.data.batches import Example
from raterhf.errors import UserError
from raterhf.inference.passes import before, distinct, ends, in_passes, mean_states, prompt_features, states_of
from raterhf.inference.plan import Pass, Plan, plan
from raterhf.models.layout import Forest
from raterhf.models.own_noise import gumbel_of_normal
from raterhf.models.policy import Policy, sampling_laws
from raterhf.models.reward import RewardModel

TOKEN_BUDGET = 8192
CHUNK_LOGITS = 2**26  # next-token logits that are held in fp32 at once


class Scorer:
    """Scores with one reward model: every token that several scores share goes through it once. Gradients flow unless turned off.

    From a run folder: `checkpoint.load_reward` gives the model and its tokenizer, `batches.Renderer` renders texts, `checkpoint.load_pool`
    the raters, whose `resolve(SPEC, ...)` and `pool.stack_vectors` give vectors [K, k + o], taste first, and the null mask [K].

    Memory: a pass holds at most `token_budget` tokens (or one text), and their keys and values for one layer at a time; of these attention
    gathers at most `layout.CALL_KEYS` at once. Where memory runs out all the same, half the budget is tried once.

    With `deterministic` each pair is scored alone, so that its score is the same to the bit whatever else is asked; otherwise sums are
    taken in an order that depends on the company (about 1e-6 in fp32).
    """

    def __init__(self, model: RewardModel, token_budget: int = TOKEN_BUDGET, deterministic: bool = False):
        self.model, self.deterministic = model, deterministic
        self.token_budget = 1 if deterministic else token_budget  # a path that fits nowhere is a pass of its own

    @property
    def device(self) -> torch.device:
        return self.model.head.weight.device

    def plan(self, examples: Sequence[Example], rater: Sequence[int] | None = None, token_budget: int | None = None) -> Plan:
        """What scoring these examples, each for its rater (a number), would push through the model; runs nothing."""
        self.check(examples)
        reads = self.model.reader is not None and self.model.site != "head"
        soft = self.model.reader.tokens if reads else 0
        return plan(examples, rater if reads else None, self.model.site, soft, token_budget or self.token_budget)

    def check(self, examples: Sequence[Example]) -> None:
        """Raise UserError for the first example that cannot be scored: nothing answered, longer than the window, unknown ids."""
        config = self.model.backbone.config
        window, vocabulary = getattr(config, "max_position_embeddings", None) or math.inf, config.vocab_size
        seen: set[int] = set()  # a jury asks about the same few many times over
        for i, example in enumerate(examples):
            if id(example) in seen:
                continue
            seen.add(id(example))
            if not 0 < example.prompt_length < len(example):
                raise UserError(f"example {i + 1} has {example.prompt_length} prompt tokens of {len(example)}: both parts need a token")
            if len(example) > window:
                raise UserError(f"example {i + 1} has {len(example)} tokens, the model's window {window}; shorten it")
            if min(example.ids) < 0 or max(example.ids) >= vocabulary:
                raise UserError(f"example {i + 1} has token ids outside 0 to {vocabulary - 1}; render it with the model's own tokenizer")

    def check_raters(self, vectors: Tensor | None, null: Tensor | None, rater: Tensor) -> None:
        """Raise UserError where there are no raters, or one is none: not known by its number, too short, NaN. `rater` [N] are numbers."""
        dim, count = self.model.reader.dim, 0 if vectors is None else len(vectors)
        if not count:
            raise UserError("no raters: give the vectors of one at least, those of null raters for nobody in particular")
        if null is None or len(null) != count or vectors.shape[1] < dim:
            said = "none" if null is None else len(null)
            raise UserError(
                f"{count} raters of {vectors.shape[1]} numbers, {said} of them said to be null or not; {dim} numbers and a mask are needed"
            )
        if len(rater) and not 0 <= int(rater.min()) <= int(rater.max()) < count:
            wrong = int(rater.min()) if rater.min() < 0 else int(rater.max())
            raise UserError(f"rater {wrong} is none of these {count}, which count from 0")
        # A training that diverges is told so by its loss.
        if not self.model.training and not (whole := vectors.isfinite().all(1)).all():
            raise UserError(f"rater {int((~whole).nonzero()[0])}: the vector holds NaN or infinity")

    def pairs(self, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None, rater: Tensor | None = None) -> Tensor:
        """Score [N] of each example for its rater: `rater` [N] are rows of `vectors` [K, k] and `null` [K]; without it example i is
        judged by rater i. Both are None for a rater-free model.
        """
        model = self.model
        if model.reader is None:
            return self._score(model.head.weight, self._states(examples))
        rater = torch.arange(len(examples)) if rater is None else rater
        if len(rater) != len(examples):
            raise UserError(f"{len(rater)} raters for {len(examples)} examples; give one for each")
        self.check_raters(vectors, null, rater)
        number, vectors, null = distinct(vectors, null)
        rater = number[rater]
        if model.site == "head":
            return (self._each(model.weights, vectors, null)[rater] * self._states(examples)).sum(-1)
        return self._score(model.head.weight, self._states(examples, rater, self._each(model.reader, vectors, null)))

    def _score(self, weight: Tensor, states: Tensor) -> Tensor:
        """Row by row, so that a row's sum does not depend on how many there are."""
        return self.model.scale * (states * weight).sum(-1)

    def _each(self, read: Callable[[Tensor, Tensor], Tensor], vectors: Tensor, null: Tensor) -> Tensor:
        """`read` of all raters together, or of each alone where scores may not depend on company."""
        if not self.deterministic:
            return read(vectors, null)
        return torch.cat([read(vectors[i : i + 1], null[i : i + 1]) for i in range(len(vectors))])

    def matrix(self, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None, n_raters: int = 1) -> Tensor:
        """Scores [K, N] of every example for every rater: `vectors` [K, k], `null` [K]."""
        if self.model.reader is None:
            return self.pairs(examples, None, None).expand(n_raters, -1)
        return self.reader_of(examples)(vectors, null)

    def reader_of(self, examples: Sequence[Example]) -> Callable[[Tensor, Tensor], Tensor]:
        """A function of raters (`vectors` [K, k], `null` [K]) that gives scores [K, N], for asking about the same examples again.

        Where the trunk does not read the rater it runs once, here.
        """
        if self.model.site == "head" and not self.deterministic:
            states = self._states(examples)

            def weighed(vectors: Tensor, null: Tensor) -> Tensor:
                self.check_raters(vectors, null, torch.arange(0))
                return self.model.weights(vectors, null) @ states.T

            return weighed

        def every_pair(vectors: Tensor, null: Tensor) -> Tensor:
            self.check_raters(vectors, null, torch.arange(0))
            rater = torch.arange(len(vectors), device=self.device).repeat_interleave(len(examples))
            return self.pairs(list(examples) * len(vectors), vectors, null, rater).view(len(vectors), len(examples))

        return every_pair

    def _states(self, examples: Sequence[Example], rater: Tensor | None = None, soft: Tensor | None = None) -> Tensor:
        """What the head reads [N, d] in fp32: the mean of the last hidden states over the last segment of each path."""
        if not len(examples):
            return self.model.head.weight.new_zeros(0, self.model.head.in_features)
        states = self._mean_states(examples, None if rater is None else rater.tolist(), soft)
        if not self.model.training and not (whole := states.isfinite().all(1)).all():
            wrong = int((~whole).nonzero()[0])
            raise UserError(f"example {wrong + 1} has no score: its hidden states hold NaN or infinity, and so may the model's weights")
        return states

    def _mean_states(self, examples: Sequence[Example], numbers: list[int] | None, soft: Tensor | None) -> Tensor:
        try:
            return mean_states(self.model.backbone, self.plan(examples, numbers), soft)
        except torch.OutOfMemoryError:
            pass  # outside the handler the failed pass's tensors are freed; once, since half may be too much for another reason
        return mean_states(self.model.backbone, self.plan(examples, numbers, max(1, self.token_budget // 2)), soft)

    def prompt_features(self, examples: Sequence[Example]) -> Tensor:
        """What own noise reads of the examples' prompts [N, F]."""
        return prompt_features(self.model, [example.ids[: example.prompt_length] for example in examples], self.token_budget)

    def utility(self, examples: Sequence[Example], raters: Tensor, null: Tensor) -> Tensor:
        """Whole utilities [K, N]: score plus own persistent noise, for raters [K, k + o]. The null rater has no own noise."""
        if self.model.reader is None:
            return self.matrix(examples, None, None, len(raters))
        width = self.model.reader.dim
        score = self.matrix(examples, raters[:, :width], null)
        own = self.model.own_noise
        if own is None:
            return score
        features = self.prompt_features(examples)
        # Turning the answers back is turning the raters.
        noise = gumbel_of_normal(raters[:, width:] @ own.turned(own(examples), features, back=True).T)
        return score + torch.where(null[:, None], 0.0, own.share(features).sqrt() * noise)


def completion_log_probs(
    policy: Policy, examples: Sequence[Example], vectors: Tensor | None, null: Tensor | None, token_budget: int = TOKEN_BUDGET,
    warp: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probability [N], EOS included, and summed next-token entropy [N] of each completion under its rater, in nats. Differentiable.

    `vectors` [N, k] and `null` [N]; completions of one rater and prompt share them. `warp` is (min_p, temperature): as sampling draws.
    """
    if not len(examples):
        return torch.zeros(0), torch.zeros(0)
    number, soft, tokens = None, None, 0
    if policy.reader is not None:
        number, vectors, null = distinct(vectors[:, : policy.reader.dim], null)
        soft, tokens, number = policy.reader(vectors, null), policy.reader.tokens, number.tolist()

    def read(part: Pass, forest: Forest) -> tuple[Tensor, Tensor]:
        states = states_of(policy.decoder, part, forest, soft)
        _, owner, length = ends(part, forest)
        said = torch.tensor([token for s in part.ends for token in part.segments[s]], device=states.device)
        log_prob, entropy = next_token_laws(policy.next_logits, vocabulary, states[before(part, forest)], said, warp)
        zeros = log_prob.new_zeros(len(length))
        return zeros.index_add(0, owner, log_prob), zeros.index_add(0, owner, entropy)

    vocabulary = policy.lm.lm_head.weight.shape[0]
    planned = plan(examples, number, "prefix", tokens, token_budget)
    return in_passes(planned, read, policy.lm.device)


def next_token_laws(
    next_logits: Callable[[Tensor], Tensor], vocabulary: int, states: Tensor, said: Tensor, warp: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probability [T] of the tokens said after these states [T, d], and the entropy [T] of the laws they were drawn from.

    In chunks that are computed again in the backward pass, so that the vocabulary in fp32 exists for one chunk at a time.
    """

    def chunk(states: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        laws = sampling_laws(next_logits(states), *warp)
        return laws.gather(1, said[:, None]).squeeze(1), -(laws.exp() * laws.clamp(min=-1e4)).sum(1)  # what is never drawn has -inf

    size = max(1, CHUNK_LOGITS // vocabulary)
    if len(states) <= size:
        return chunk(states, said)
    parts = [checkpoint(chunk, s, t, use_reentrant=False) for s, t in zip(states.split(size), said.split(size))]
    return tuple(torch.cat(column) for column in zip(*parts))
