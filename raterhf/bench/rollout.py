"""`raterhf bench rollout`: samples of the policy, several of each rater and prompt.

Naive is transformers' `generate`, which reads the prompt for every sample; shared reads it once for each rater; compiled is the same with
the decoder compiled for dynamic shapes, a graph for prompts and one for steps, however long they are and however many samples.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.score import Rung, metrics
from raterhf.bench.workload import DIM, Sizes, config_of, draw_examples, parameters
from raterhf.data.example import Example, collate
from raterhf.engine.sampler import Sampler
from raterhf.errors import UserError
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch


def bench_rollout(
    source: str, sizes: Sizes, raters: int, compiled: bool, device: torch.device, dtype: torch.dtype, repeats: int
) -> dict:  # fmt: skip
    """Rows for naive, shared and, where asked for, compiled: seconds of sampling `sizes.completions` completions of every prompt for each
    of `raters` raters. Compiling is the compiled row's `warm_up`.
    """
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": source, "rows": []}
    torch.manual_seed(1)
    with torch.device(device):
        window = 4 * sizes.prompt_tokens + sizes.completion_tokens + sizes.soft_tokens
        lm = AutoModelForCausalLM.from_config(config_of(source, window), dtype=dtype)
    policy = Policy(lm.eval(), DIM, sizes.soft_tokens).to(device).requires_grad_(False)
    heads = list(dict.fromkeys(e.prompt.ids for e in draw_examples(sizes, lm.config.vocab_size)))
    vectors = torch.randn(raters, DIM, generator=torch.Generator().manual_seed(2)).to(device)
    who = torch.arange(raters, device=device).repeat_interleave(sizes.completions).repeat(len(heads))
    prompts = [head for head in heads for _ in range(raters * sizes.completions)]
    each = RaterBatch.people(vectors[who])
    # No id ends a completion: both draw the same number of tokens.
    sampler = Sampler(policy, 0, -1, sizes.completion_tokens)
    read, drawn = sum(map(len, prompts)) + len(prompts) * sizes.soft_tokens, len(prompts) * sizes.completion_tokens
    n, shorter = len(prompts), read // sizes.completions + drawn

    def generate() -> Tensor:
        return by_generate(policy, prompts, each, sizes.completion_tokens)

    def shared(sampler: Sampler = sampler) -> list[Example]:
        return sampler.generate(prompts, each, 0)

    rungs = {
        "generate": Rung(generate, n, n, read + drawn, None),
        "shared": Rung(shared, n, n, shorter, None, (read + drawn) / shorter),
    }
    if compiled:
        other = Sampler(copy.deepcopy(policy), 0, -1, sizes.completion_tokens)
        other.policy.decoder.compile(dynamic=True)
        rungs["compiled"] = Rung(lambda: tried(lambda: shared(other)), n, n, shorter, None, (read + drawn) / shorter)
    times = interleaved({name: rung.run for name, rung in rungs.items()}, repeats, device, "samples")
    found["rows"] = list(metrics(rungs, times, "prefix", raters, found["machine"], parameters(lm), {}))
    return found


def tried(run: Callable[[], list[Example]]) -> list[Example]:
    """What a compiled decoder gives; it is compiled when it first runs. Raises UserError where it cannot be."""
    try:
        return run()
    except torch._dynamo.exc.TorchDynamoException as error:  # no compiler here, say
        raise UserError(f"--compile: {type(error).__name__}: {str(error).splitlines()[0][:200]}; leave it out") from error


def by_generate(policy: Policy, prompts: list[tuple[int, ...]], raters: RaterBatch, max_new_tokens: int) -> Tensor:
    """Every sample reads its own prompt."""
    inputs, mask = embedded(policy, prompts, raters)
    return policy.lm.generate(
        inputs_embeds=inputs, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=max_new_tokens,
        min_new_tokens=max_new_tokens, pad_token_id=0,
    )  # fmt: skip


def embedded(policy: Policy, prompts: list[tuple[int, ...]], raters: RaterBatch) -> tuple[Tensor, Tensor]:
    """What the language model reads [N, T, d] of prompts behind their raters, and its mask [N, T]; padding stands to the left."""
    batch = collate([Example(p, len(p)) for p in prompts], 0, "left").to(policy.lm.device)
    soft = policy.prefix(raters)
    inputs = torch.cat([soft.to(policy.lm.dtype), policy.lm.get_input_embeddings()(batch.ids)], 1)
    return inputs, torch.cat([batch.mask.new_ones(len(prompts), soft.shape[1]), batch.mask], 1).long()
