"""`raterhf bench train`: one update of the reward model, naive and shared.

An update scores both sides of every comparison for its rater and goes backward. Naive is every side a text of its own in sorted, padded
batches.
"""

from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.score import Rung, draw_raters, in_batches, metrics, padding
from raterhf.bench.workload import Sizes, conditionings_of, draw_for, make_reward, own_sizes, parameters
from raterhf.data.example import Example, budget_batches
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError


def bench_train(
    source: str, sizes: Sizes, conditionings: list[str] | None, device: torch.device, dtype: torch.dtype, repeats: int, token_budget: int
) -> dict:
    """Rows for each conditioning: the seconds of one update on comparisons of each prompt's completions, each by a rater of its own."""
    sizes = own_sizes(source, sizes)
    window = 4 * (sizes.prompt_tokens + sizes.completion_tokens) + sizes.soft_tokens
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": source, "token_budget": token_budget, "rows": []}
    if not (chosen := conditionings_of(source, conditionings)):
        raise UserError(f"{source} knows no raters by vectors, whose conditioning could be timed; give another run or a shape")
    for conditioning in chosen:
        model = make_reward(source, conditioning, sizes.soft_tokens, device, dtype, window).requires_grad_(True)
        examples = draw_for(model, sizes)
        scorer = Scorer(model, token_budget)
        rungs = dict(update_rungs(scorer, examples))
        times = interleaved({name: rung.run for name, rung in rungs.items()}, repeats, device, f"{conditioning}, updates")
        # Forward and backward are three passes of the forward's work.
        found["rows"] += list(metrics(rungs, times, conditioning, len(examples), found["machine"], 3 * parameters(model.backbone), {}))
    return found


def update_rungs(scorer: Scorer, examples: list[Example]) -> Iterator[tuple[str, Rung]]:
    """Completion i is set against completion i + 1 of its prompt by rater i: every completion is read by two raters."""
    model, n = scorer.model, len(examples)
    raters = draw_raters(scorer, n)
    first = [i for i in range(n) if i + 1 < n and examples[i].prompt == examples[i + 1].prompt]
    rater = torch.tensor(first * 2, device=scorer.device)
    sides = [examples[i] for i in first] + [examples[i + 1] for i in first]

    def update(scores: Tensor) -> Tensor:
        loss = -torch.nn.functional.logsigmoid(scores[: len(first)] - scores[len(first) :]).mean()
        model.zero_grad()
        loss.backward()
        return loss.detach()

    def naive() -> Tensor:
        run = lambda batch, rows: model(batch, raters[rater[rows]])  # noqa: E731
        return update(in_batches(run, sides, scorer.device, scorer.token_budget))

    soft = 0 if model.conditioning == "head" else model.reader.tokens
    tokens = sum(len(e) + soft for e in sides)
    batches = [[sides[i] for i in rows] for rows in budget_batches([len(e) for e in sides], scorer.token_budget)]
    yield "naive", Rung(naive, len(sides), len(sides), tokens, padding(batches))
    planned = scorer.plan(sides, rater.tolist())
    shared = lambda: update(scorer.pairs(sides, raters, rater))  # noqa: E731
    yield "shared", Rung(shared, len(sides), len(sides), planned.tokens, 0.0, tokens / planned.tokens, planned.padding)
