"""The core loop: scores of many completions for many raters. The one place that scores.

It takes rendered examples and raters (`RaterBatch`), never text; plans what is shared (`plan.py`) and runs it without padding
(`passes.py`). Scores come back in input order whatever the plan was.

Notation: K raters, N examples, k dimensions of taste, o of idiosyncratic taste.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from raterhf.data.example import Example
from raterhf.engine.checks import check_examples, check_rater_of_each, check_raters, check_scores, soft_tokens
from raterhf.engine.kept import KeptStates
from raterhf.engine.layout import Forest
from raterhf.engine.passes import before, ends, in_passes, mean_states, prompt_features, states_of, sums
from raterhf.engine.plan import Pass, Plan, plan
from raterhf.errors import UserError
from raterhf.models.idiosyncratic import gumbel_of_normal
from raterhf.models.policy import Policy, sampling_distributions
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch

TOKEN_BUDGET = 8192
CHUNK_LOGITS = 2**24  # next-token logits that are held in fp32 at once


class Scorer:
    """Scores with one reward model: every token that several scores share goes through it once. Gradients flow unless turned off.

    From a run folder: `checkpoint.load_reward` gives the model and its tokenizer, `renderer.Renderer` renders texts, `checkpoint.load_pool`
    the raters, whose `resolve(SPEC, ...)` and `RaterBatch.of` give what every method here takes; `RaterBatch.nobody(1)` for rater-free
    models.

    Memory: a pass holds at most `token_budget` tokens (or one text), and their keys and values for one layer at a time; of these attention
    gathers at most `layout.CALL_KEYS` at once. Where memory runs out all the same, half the budget is tried once.

    With `deterministic` each pair is scored alone, so that its score is the same to the bit whatever else is asked; otherwise sums are
    taken in an order that depends on the company (about 1e-6 in fp32).

    `kept` holds what was read of texts, for a trunk that does not learn.
    """

    def __init__(
        self, model: RewardModel, token_budget: int = TOKEN_BUDGET, deterministic: bool = False, kept: KeptStates | None = None
    ):  # fmt: skip
        if token_budget < 1:
            raise UserError(f"token_budget {token_budget}: a pass holds one token at least; leave it out for {TOKEN_BUDGET}")
        self.model, self.deterministic, self.kept = model, deterministic, kept
        self.token_budget = 1 if deterministic else token_budget  # a path that fits nowhere is a pass of its own

    @property
    def device(self) -> torch.device:
        return self.model.head.weight.device

    def plan(self, examples: Sequence[Example], rater: Sequence[int] | None = None, token_budget: int | None = None) -> Plan:
        """What scoring these examples, each for its rater (a number), would push through the model; runs nothing."""
        check_examples(self.model, examples)
        soft = soft_tokens(self.model)
        if soft and (rater is None or len(rater) != len(examples)):
            given = "none" if rater is None else len(rater)
            raise UserError(
                f"{len(examples)} examples at conditioning {self.model.conditioning} need a rater's number each, there are {given}"
            )
        budget = min(token_budget or self.token_budget, self.model.held_tokens)
        return plan(examples, rater if soft else None, self.model.conditioning, soft, budget)

    def pairs(self, examples: Sequence[Example], raters: RaterBatch, rater: Tensor | None = None) -> Tensor:
        """Score [N] of each example for its rater: `rater` [N] are rows of `raters`; without it example i is scored for rater i.

        A rater-free model reads neither.
        """
        model, raters = self.model, raters.to(self.device)
        if model.reader is None:
            return check_scores(model, self._score(model.head.weight, self.states(examples)), examples, raters)
        rater = torch.arange(len(examples), device=self.device) if rater is None else torch.as_tensor(rater, device=self.device)
        if len(rater) != len(examples):
            raise UserError(f"{len(rater)} raters for {len(examples)} examples; give one for each")
        check_raters(model, raters, rater)
        number, different = raters.distinct()
        rater = number[rater] if len(rater) else number[:0]
        if model.conditioning == "head":
            scores = (self._each(model.weights, different)[rater] * self.states(examples)).sum(-1)
        else:
            scores = self._score(model.head.weight, self.states(examples, rater, self._each(model.reader, different)))
        return check_scores(model, scores, examples, raters)

    def _score(self, weight: Tensor, states: Tensor) -> Tensor:
        """Row by row, so that a row's sum does not depend on how many there are."""
        return self.model.scale * (states * weight).sum(-1)

    def _each(self, read: Callable[..., Tensor], *rows: Tensor | RaterBatch) -> Tensor:
        """`read` of all rows together, or of each alone where scores may not depend on company."""
        if not self.deterministic:
            return read(*rows)
        return torch.cat([read(*(part[i : i + 1] for part in rows)) for i in range(len(rows[0]))])

    def matrix(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        """Scores [K, N] of every example for every rater."""
        if self.model.reader is None:
            return self.pairs(examples, raters).expand(len(raters), -1)
        return self.scores_for(examples)(raters)

    def scores_for(self, examples: Sequence[Example]) -> Callable[[RaterBatch], Tensor]:
        """A function of K raters that gives scores [K, N], for asking about the same examples again.

        Where the trunk does not read the rater it runs once, here.
        """
        if self.model.conditioning == "head" and not self.deterministic:
            states = self.states(examples)

            def weighed(raters: RaterBatch) -> Tensor:
                raters = raters.to(self.device)
                check_raters(self.model, raters)
                return check_scores(self.model, self.model.weights(raters) @ states.T, examples, raters)

            return weighed

        def every_pair(raters: RaterBatch) -> Tensor:
            raters = raters.to(self.device)
            check_raters(self.model, raters)
            rater = torch.arange(len(raters), device=self.device).repeat_interleave(len(examples))
            return self.pairs(list(examples) * len(raters), raters, rater).view(len(raters), len(examples))

        return every_pair

    def states(self, examples: Sequence[Example], rater: Tensor | None = None, soft: Tensor | None = None) -> Tensor:
        """What the head reads [N, d] in fp32: the mean of the last hidden states over the last segment of each path."""
        if not len(examples):
            return self.model.head.weight.new_zeros(0, self.model.head.in_features)
        if self.kept is not None and rater is None:
            return self.kept.of(examples, lambda fresh: self._read(fresh, None, None))
        return self._read(examples, None if rater is None else rater.tolist(), soft)

    def _read(self, examples: Sequence[Example], rater: list[int] | None, soft: Tensor | None) -> Tensor:
        model = self.model
        try:
            return mean_states(model.backbone, self.plan(examples, rater), soft, model.held_tokens)
        except torch.OutOfMemoryError:
            pass  # outside the handler the failed pass's tensors are freed; once, since half may be too much for another reason
        return mean_states(model.backbone, self.plan(examples, rater, max(1, self.token_budget // 2)), soft, model.held_tokens)

    def prompt_features(self, examples: Sequence[Example]) -> Tensor:
        """What idiosyncratic taste reads of the examples' prompts [N, F]."""
        return prompt_features(self.model, [example.ids[: example.prompt_length] for example in examples], self.token_budget)

    def utility(self, examples: Sequence[Example], raters: RaterBatch) -> Tensor:
        """Whole utilities [K, N]: score plus idiosyncratic taste, which the raters' vectors [K, k + o] hold. The null rater has none."""
        if self.model.reader is None:
            return self.matrix(examples, raters)
        width, taste, raters = self.model.reader.dim, self.model.idiosyncratic, raters.to(self.device)
        check_raters(self.model, raters, idiosyncratic=taste is not None)
        score = self.matrix(examples, RaterBatch(raters.taste(width), raters.null))
        if taste is None or not len(examples):
            return score
        # Rotating each answer back once gives the same inner products as rotating every rater, and costs less.
        heard = lambda features, answers: torch.cat([taste.turned(answers, features, back=True), taste.share(features)[:, None]], 1)  # noqa: E731
        turned, share = self._each(heard, self.prompt_features(examples), taste(examples)).split([taste.dim, 1], 1)
        part = raters.idiosyncratic(width, taste.dim)
        noise = gumbel_of_normal((part[:, None] * turned).sum(-1) if self.deterministic else part @ turned.T)
        return score + torch.where(raters.null[:, None], 0.0, share[:, 0].sqrt() * noise)


def completion_log_probs(
    policy: Policy, examples: Sequence[Example], raters: RaterBatch, token_budget: int = TOKEN_BUDGET,
    warp: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probability [N], EOS included, and summed next-token entropy [N] of each completion under its rater, in nats. Differentiable.

    Example i is read under `raters[i]`; completions of one rater and prompt share the work of both. `warp` is (min_p, temperature): as
    sampling draws.
    """
    log_prob, entropy = _completions(policy, examples, raters, token_budget, warp, False)
    return log_prob, entropy


@torch.no_grad()
def read_completions(policy: Policy, examples: Sequence[Example], raters: RaterBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and the mean of the last hidden states over each completion [N, d], in fp32."""
    log_prob, entropy, states = _completions(policy, examples, raters, TOKEN_BUDGET, (0.0, 1.0), True)
    return log_prob, entropy, states


def _completions(
    policy: Policy, examples: Sequence[Example], raters: RaterBatch, token_budget: int, warp: tuple[float, float], means: bool
) -> tuple[Tensor, ...]:  # fmt: skip
    if not len(examples):
        return torch.zeros(0), torch.zeros(0), *([torch.zeros(0, policy.lm.config.hidden_size)] if means else [])
    check_examples(policy, examples)
    raters = raters.to(policy.lm.device)
    who: list[int] | None = None
    soft, tokens = None, 0
    if policy.reader is not None:
        check_rater_of_each(policy, len(examples), raters)
        number, different = RaterBatch(raters.taste(policy.reader.dim), raters.null).distinct()
        soft, tokens, who = policy.reader(different), policy.reader.tokens, number.tolist()

    def read(part: Pass, forest: Forest) -> tuple[Tensor, ...]:
        states = states_of(policy.decoder, part, forest, soft)
        _, owner, length = ends(part, forest)
        token = torch.tensor([i for s in part.ends for i in part.text(s)], device=states.device)
        log_prob, entropy = next_token_distributions(policy.next_logits, vocabulary, states[before(part, forest)], token, warp)
        zeros = log_prob.new_zeros(len(length))
        found = zeros.index_add(0, owner, log_prob), zeros.index_add(0, owner, entropy)
        return (*found, sums(states, part, forest)[0] / length[:, None]) if means else found

    vocabulary = policy.lm.lm_head.weight.shape[0]
    planned = plan(examples, who, "prefix", tokens, min(token_budget, policy.held_tokens))
    return in_passes(planned, read, policy.lm.device, policy.held_tokens)


def next_token_distributions(
    next_logits: Callable[[Tensor], Tensor], vocabulary: int, states: Tensor, token: Tensor, warp: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probability [T] of the tokens that follow these states [T, d], and the entropy [T] of the distributions they were drawn from.

    In chunks that are computed again in the backward pass, so that the vocabulary in fp32 exists for one chunk at a time.
    """

    def chunk(states: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        distributions = sampling_distributions(next_logits(states), *warp)
        return distributions.gather(1, token[:, None]).squeeze(1), -(distributions.exp() * distributions.clamp(min=-1e4)).sum(
            1
        )  # what is never drawn has -inf

    size = max(1, CHUNK_LOGITS // vocabulary)
    if len(states) <= size:
        return chunk(states, token)
    parts = [checkpoint(chunk, s, t, use_reentrant=False) for s, t in zip(states.split(size), token.split(size))]
    log_prob, entropy = (torch.cat(column) for column in zip(*parts))
    return log_prob, entropy
