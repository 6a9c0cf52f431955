"""`raterhf bench train` and `raterhf bench rollout`: one update of the reward model, and samples of the policy, naive and shared.

An update scores both sides of every comparison for its rater and goes backward. Naive is every side a text of its own in sorted, padded
batches. A rollout draws several samples of each rater and prompt; naive is transformers' `generate`, which reads the prompt for each.
"""

from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.score import Rung, draw_raters, figures, in_batches, padding
from raterhf.bench.workload import DIM, Sizes, config_of, draw_examples, make_reward, parameters, sites_of
from raterhf.data.batches import Example, budget_batches, collate
from raterhf.inference.sampler import Sampler
from raterhf.inference.scorer import Scorer
from raterhf.models.policy import Policy


def bench_train(
    source: str, sizes: Sizes, sites: list[str] | None, device: torch.device, dtype: torch.dtype, repeats: int, token_budget: int
) -> dict:
    """Rows for each site: the seconds of one update on comparisons of each prompt's completions, each by a rater of its own."""
    window = 4 * (sizes.prompt_tokens + sizes.completion_tokens) + sizes.soft_tokens
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": source, "token_budget": token_budget, "rows": []}
    for site in sites_of(source, sites):
        model = make_reward(source, site, sizes.soft_tokens, device, dtype, window).requires_grad_(True)
        examples = draw_examples(sizes, model.backbone.config.vocab_size)
        scorer = Scorer(model, token_budget)
        rungs = dict(update_rungs(scorer, examples))
        times = interleaved({name: rung.run for name, rung in rungs.items()}, repeats, device)
        # Forward and backward are three passes of the forward's work.
        found["rows"] += list(figures(rungs, times, site, len(examples), found["machine"], 3 * parameters(model.backbone), {}))
    return found


def update_rungs(scorer: Scorer, examples: list[Example]) -> Iterator[tuple[str, Rung]]:
    """Completion i is set against completion i + 1 of its prompt by rater i: every completion is read by two raters."""
    model, n = scorer.model, len(examples)
    vectors, null = draw_raters(scorer, n)
    first = [i for i in range(n) if i + 1 < n and examples[i].prompt == examples[i + 1].prompt]
    rater = torch.tensor(first * 2, device=scorer.device)
    sides = [examples[i] for i in first] + [examples[i + 1] for i in first]

    def update(scores: Tensor) -> Tensor:
        loss = -torch.nn.functional.logsigmoid(scores[: len(first)] - scores[len(first) :]).mean()
        model.zero_grad()
        loss.backward()
        return loss.detach()

    def naive() -> Tensor:
        run = lambda batch, rows: model(batch, vectors[rater[rows]], null[rater[rows]])  # noqa: E731
        return update(in_batches(run, sides, scorer.device, scorer.token_budget))

    soft = 0 if model.site == "head" else model.reader.tokens
    tokens = sum(len(e) + soft for e in sides)
    batches = [[sides[i] for i in rows] for rows in budget_batches([len(e) for e in sides], scorer.token_budget)]
    yield "naive", Rung(naive, len(sides), len(sides), tokens, padding(batches))
    planned = scorer.plan(sides, rater.tolist())
    shared = lambda: update(scorer.pairs(sides, vectors, null, rater))  # noqa: E731
    yield "shared", Rung(shared, len(sides), len(sides), planned.tokens, planned.padding, tokens / planned.tokens)


def bench_rollout(source: str, sizes: Sizes, raters: int, device: torch.device, dtype: torch.dtype, repeats: int) -> dict:
    """Rows for naive and shared: seconds of sampling `sizes.completions` completions of every prompt for each of `raters` raters."""
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": source, "rows": []}
    torch.manual_seed(1)
    with torch.device(device):
        lm = AutoModelForCausalLM.from_config(config_of(source, 4 * sizes.prompt_tokens + sizes.completion_tokens + 64), dtype=dtype)
    policy = Policy(lm.eval(), DIM, sizes.soft_tokens).to(device).requires_grad_(False)
    heads = list(dict.fromkeys(e.prompt.ids for e in draw_examples(sizes, lm.config.vocab_size)))
    vectors = torch.randn(raters, DIM, generator=torch.Generator().manual_seed(2)).to(device)
    who = torch.arange(raters, device=device).repeat_interleave(sizes.completions).repeat(len(heads))
    prompts = [head for head in heads for _ in range(raters * sizes.completions)]
    null = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    # No id ends a completion: both draw the same number of tokens.
    sampler = Sampler(policy, 0, -1, sizes.completion_tokens)
    read, drawn = sum(map(len, prompts)) + len(prompts) * sizes.soft_tokens, len(prompts) * sizes.completion_tokens
    n, shorter = len(prompts), read // sizes.completions + drawn

    def generate() -> Tensor:
        return by_generate(policy, prompts, vectors[who], null, sizes.completion_tokens)

    def shared() -> list[Example]:
        return sampler.generate(prompts, vectors[who], null, 0)

    rungs = {
        "generate": Rung(generate, n, n, read + drawn, None),
        "shared": Rung(shared, n, n, shorter, None, (read + drawn) / shorter),
    }
    times = interleaved({name: torch.inference_mode()(rung.run) for name, rung in rungs.items()}, repeats, device)
    found["rows"] = list(figures(rungs, times, "prefix", raters, found["machine"], parameters(lm), {}))
    return found


def by_generate(policy: Policy, prompts: list[tuple[int, ...]], vectors: Tensor, null: Tensor, max_new_tokens: int) -> Tensor:
    """Every sample reads its own prompt."""
    batch = collate([Example(p, len(p)) for p in prompts], 0, "left").to(policy.lm.device)
    soft = policy.prefix(vectors, null)
    inputs = torch.cat([soft.to(policy.lm.dtype), policy.lm.get_input_embeddings()(batch.ids)], 1)
    mask = torch.cat([batch.mask.new_ones(len(prompts), soft.shape[1]), batch.mask], 1).long()
    return policy.lm.generate(
        inputs_embeds=inputs, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=max_new_tokens,
        min_new_tokens=max_new_tokens, pad_token_id=0,
    )  # fmt: skip
