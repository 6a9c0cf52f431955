"""`raterhf bench score`: the ladder from one text at a time to shared trunks, each rung beside the one below.

Without raters: the text-classification pipeline of transformers; what TRL's trainers do (one right-padded forward over all rows, in the
order given: TRL 1.16); the same sorted by length in batches; without padding; with prompts shared. With K raters, for each conditioning:
naive (every rater and completion a text of its own, sorted, padded batches) and shared. What would take minutes is timed on some of its
rows and scaled by their number; `timed` says how many.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import TextClassificationPipeline

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.workload import (
    Sizes,
    conditionings_of,
    draw_for,
    make_classifier,
    make_reward,
    own_sizes,
    parameters,
    word_tokenizer,
    words_of,
)
from raterhf.data.example import Batch, Example, budget_batches, collate
from raterhf.engine.attention import attention_of
from raterhf.engine.scorer import Scorer
from raterhf.raters.batch import RaterBatch

NAIVE_ROWS = 64
CHECKED = 16


@dataclass(frozen=True)
class Rung:
    """A way to score: `run` scores the pairs `timed` of all `wanted`, pushing `tokens` real tokens.

    `padding` is the share of tokens wasted beside them; `masked` the share of query-key pairs that attention computes for nothing.
    """

    run: Callable[[], Tensor]
    timed: int
    wanted: int
    tokens: int
    padding: float | None
    planned_gain: float | None = None
    masked: float | None = None


def bench_score(
    source: str,
    sizes: Sizes,
    raters: list[int],
    conditionings: list[str] | None,
    device: torch.device,
    dtype: torch.dtype,
    repeats: int,
    token_budget: int,
) -> dict:
    """What was measured, where, and a row of figures for every rung."""
    conditionings, sizes = conditionings_of(source, conditionings), own_sizes(source, sizes)
    window = 4 * (sizes.prompt_tokens + sizes.completion_tokens) + sizes.soft_tokens
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": source, "token_budget": token_budget, "rows": []}
    for conditioning in (None, *conditionings):
        model = make_reward(source, conditioning, sizes.soft_tokens, device, dtype, window)
        examples = draw_for(model, sizes)
        scorer = Scorer(model, token_budget)
        found["machine"]["attention"] = attention_of(model.backbone)
        for k in raters if conditioning else [1]:
            rungs = dict(jury_rungs(scorer, examples, k) if conditioning else plain_rungs(scorer, examples))
            deviation = largest_deviation(conditioning, scorer, examples, k)
            times = interleaved(
                {name: torch.inference_mode()(rung.run) for name, rung in rungs.items()},
                repeats,
                device,
                f"{conditioning or 'no raters'}, K = {k}",
            )
            found["rows"] += list(metrics(rungs, times, conditioning or "none", k, found["machine"], parameters(model.backbone), deviation))
    return found


def plain_rungs(scorer: Scorer, examples: list[Example]) -> Iterator[tuple[str, Rung]]:
    """Scoring for nobody in particular: what sorting, packing and sharing of prompts are worth."""
    model, n, tokens = scorer.model, len(examples), sum(map(len, examples))
    some = examples[:NAIVE_ROWS]
    pipeline = make_pipeline(scorer, some)
    yield "pipeline", Rung(pipeline, len(some), n, sum(map(len, some)), 0.0)
    yield "TRL", Rung(lambda: model(collate(examples, 0).to(scorer.device), RaterBatch.nobody(1)), n, n, tokens, padding([examples]))
    batches = [[examples[i] for i in rows] for rows in budget_batches([len(e) for e in examples], scorer.token_budget)]
    run = lambda: in_batches(lambda batch, _: model(batch, RaterBatch.nobody(1)), examples, scorer.device, scorer.token_budget)  # noqa: E731
    yield "+ sorting", Rung(run, n, n, tokens, padding(batches))
    # Each with a first token of its own: nothing is shared, all else is the same.
    apart = [Example((i % model.backbone.config.vocab_size, *e.ids[1:]), e.prompt_length) for i, e in enumerate(examples)]
    yield "+ packing", Rung(lambda: scorer.pairs(apart, RaterBatch.nobody(1)), n, n, tokens, 0.0)
    planned = scorer.plan(examples)
    yield "+ sharing", Rung(lambda: scorer.pairs(examples, RaterBatch.nobody(1)), n, n, planned.tokens, 0.0, planned.gain, planned.padding)


def jury_rungs(scorer: Scorer, examples: list[Example], k: int) -> Iterator[tuple[str, Rung]]:
    """K raters: every pair a text of its own, and shared."""
    model, raters = scorer.model, draw_raters(scorer, k)
    pairs = [(r, e) for r in range(k) for e in range(len(examples))]
    some = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))[:NAIVE_ROWS]]
    rater, texts = torch.tensor([r for r, _ in some], device=scorer.device), [examples[e] for _, e in some]
    soft = 0 if model.conditioning == "head" else model.reader.tokens

    def naive() -> Tensor:
        return in_batches(lambda batch, rows: model(batch, raters[rater[rows]]), texts, scorer.device, scorer.token_budget)

    planned = scorer.plan(examples * k, [r for r, _ in pairs])
    batches = [[texts[i] for i in rows] for rows in budget_batches([len(e) for e in texts], scorer.token_budget)]
    yield "naive", Rung(naive, len(some), len(pairs), sum(len(e) + soft for e in texts), padding(batches))
    run = lambda: scorer.matrix(examples, raters)  # noqa: E731
    naive_tokens = sum(len(e) + soft for e in examples) * k
    yield "shared", Rung(run, len(pairs), len(pairs), planned.tokens, 0.0, naive_tokens / planned.tokens, planned.padding)


def in_batches(
    run: Callable[[Batch, Tensor], Tensor], examples: list[Example], device: torch.device, token_budget: int
) -> Tensor:  # fmt: skip
    """`run(batch, rows)` of length-sorted, padded batches, its results in input order: how scores are had without sharing."""
    batches = budget_batches([len(e) for e in examples], token_budget)
    parts = []
    for rows in batches:
        batch = collate([examples[i] for i in rows], 0).to(device)
        parts.append(run(batch, torch.as_tensor(rows, device=device)))
    back = torch.empty(len(examples), dtype=torch.long, device=device)
    back[torch.cat([torch.as_tensor(rows, device=device) for rows in batches])] = torch.arange(len(examples), device=device)
    return torch.cat(parts)[back]


def draw_raters(scorer: Scorer, k: int) -> RaterBatch:
    """K raters of the model."""
    vectors = torch.randn(k, scorer.model.reader.dim, generator=torch.Generator().manual_seed(2))
    return RaterBatch.people(vectors.to(scorer.device))


def padding(batches: list[list[Example]]) -> float:
    """Share of padding in right-padded batches."""
    held = sum(len(batch) * max(map(len, batch)) for batch in batches)
    return 1 - sum(len(e) for batch in batches for e in batch) / held


def make_pipeline(scorer: Scorer, examples: list[Example]) -> Callable[[], Tensor]:
    """transformers' own pipeline on these texts."""
    backbone = scorer.model.backbone
    model = make_classifier(backbone.config, scorer.device, backbone.dtype)
    pipeline = TextClassificationPipeline(model=model, tokenizer=word_tokenizer(backbone.config.vocab_size), device=scorer.device)
    texts = [words_of(e.ids) for e in examples]
    return lambda: torch.tensor([row["score"] for row in pipeline(texts, function_to_apply="none")])


@torch.inference_mode()
def largest_deviation(conditioning: str | None, scorer: Scorer, examples: list[Example], k: int) -> dict[str, float]:
    """Of shared scores from the same weights in fp32, one text at a time, over some pairs; beside how far apart scores lie."""
    model, raters = scorer.model, RaterBatch.nobody(k, scorer.device) if conditioning is None else draw_raters(scorer, k)
    scores = scorer.matrix(examples, raters).float()
    chosen = np.random.default_rng(1).integers(0, (k, len(examples)), size=(CHECKED, 2))
    dtype = model.backbone.dtype
    model.backbone.float()
    alone = torch.cat([model(collate([examples[e]], 0).to(scorer.device), raters[r : r + 1]) for r, e in chosen])
    model.backbone.to(dtype)
    found = scores[torch.as_tensor(chosen[:, 0]), torch.as_tensor(chosen[:, 1])]
    return {"deviation": float((found - alone).abs().max()), "spread_of_scores": float(alone.std())}


def metrics(rungs: dict[str, Rung], times: dict, conditioning: str, k: int, on: dict, size: int, deviation: dict) -> Iterator[dict]:
    """A row for each rung; gains are over the first, at equal numbers of scores."""
    first = None
    for name, rung in rungs.items():
        seconds = times[name].median * rung.wanted / rung.timed
        first = first or seconds
        row = {
            "conditioning": conditioning, "raters": k, "rung": name, "seconds": seconds, "scores_per_second": rung.wanted / seconds,
            "useful_tokens_per_second": rung.tokens / times[name].median, "gain": first / seconds, "padding": rung.padding,
            "mfu": 2 * size * rung.tokens / times[name].median / on["matrix_product_flops"], "peak_mib": times[name].peak_mib,
            "low": times[name].low * rung.wanted / rung.timed, "high": times[name].high * rung.wanted / rung.timed,
            "warm_up": times[name].warm_up, "timed": rung.timed, "wanted": rung.wanted, "masked": rung.masked,
        }  # fmt: skip
        if rung.planned_gain:
            row |= deviation | {"planned_gain": rung.planned_gain, "realised": first / seconds / rung.planned_gain}
        yield row
