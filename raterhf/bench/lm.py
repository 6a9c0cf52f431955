"""`raterhf bench lm`: what a pretrained chat model costs with adapters, beside TRL and beside training all its weights.

Parts: `updates` of the stages in seconds, `memory` of the same, `sampling` of many raters' answers to one prompt beside transformers'
`generate`, a `jury` of many raters over some answers beside one judge, and `folders`, what a stage writes. Runs of a table take turns, so
that a machine that slows down slows all of them. Memory is of a process of its own for each, libraries and all; of a GPU what is allocated.
"""

import gc
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from raterhf.bench.lm_updates import (
    OURS,
    STAGES,
    TRL,
    WHOLE,
    Workload,
    answers,
    make_policy_for,
    make_reward_for,
    tokens_of,
    update,
)
from raterhf.bench.measure import interleaved, machine
from raterhf.bench.rollout import by_generate, embedded
from raterhf.bench.vllm_engine import started, write_prompts
from raterhf.engine.memory import cost_of, keep_freed_memory
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer
from raterhf.log import show_log
from raterhf.models import checkpoint
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool

PARTS = ("updates", "memory", "sampling", "jury", "folders")
RATERS, JUDGED, JUDGED_TOKENS = 64, 8, 60  # of sampling and the jury
MIB = 2**20


def bench_lm(work: Workload, parts: list[str], repeats: int, vllm: str | None = None) -> dict:
    """What was measured, where, and rows of figures: `part`, `what`, `run`, `seconds` with its range, `times` the speed of the part's first
    run, `mib`, `tokens`. `vllm` is a Python that has vLLM, which then samples too."""
    found = {"machine": machine(work.device, work.dtype), "workload": _plain(work), "repeats": repeats, "rows": []}
    makers: dict[str, Callable[[Workload, int], Iterator[dict]]] = {
        "updates": update_rows, "memory": memory_rows, "sampling": partial(sampling_rows, vllm=vllm), "jury": jury_rows,
        "folders": folder_rows,
    }  # fmt: skip
    for part in PARTS:
        if part in parts:
            found["rows"] += [{"part": part} | row for row in makers[part](work, repeats)]
    return found


def _plain(work: Workload) -> dict:
    return {key: value if isinstance(value, int) else str(value) for key, value in asdict(work).items()}


def update_rows(work: Workload, repeats: int) -> Iterator[dict]:
    """Of each stage: TRL's, ours, and ours of all weights."""
    for stage in STAGES:
        with tempfile.TemporaryDirectory() as scratch:
            runs = {who: update(work, stage, who, Path(scratch)) for who in (TRL, OURS, WHOLE)}
            for row in timed(runs, work, repeats, stage):
                yield row | {"seconds": row["seconds"] / work.updates, "low": row["low"] / work.updates, "high": row["high"] / work.updates,
                             "tokens": tokens_of(work, stage)}  # fmt: skip
        del runs
        gc.collect()  # trainers and their models refer to each other


def timed(runs: dict[str, Callable[[], object]], work: Workload, repeats: int, what: str) -> Iterator[dict]:
    """A row for each run."""
    times = interleaved(runs, repeats, work.device, what)
    first = next(iter(times.values())).median
    for name, timing in times.items():
        yield {
            "what": what, "run": name, "seconds": timing.median, "low": timing.low, "high": timing.high, "times": first / timing.median
        }  # fmt: skip


def memory_rows(work: Workload, repeats: int) -> Iterator[dict]:
    """The same updates, a process each."""
    spawn = multiprocessing.get_context("spawn")
    for stage in STAGES:
        for who in (TRL, OURS, WHOLE):
            with ProcessPoolExecutor(1, mp_context=spawn, initializer=_settle, initargs=(torch.get_num_threads(),)) as pool:
                yield {"what": stage, "run": who, "mib": pool.submit(peak_of, work, stage, who).result()}


def _settle(threads: int) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    show_log()


def peak_of(work: Workload, stage: str, who: str) -> float | None:
    """MiB that this process holds at most while it loads the models and makes its updates."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            update(work, stage, who, Path(scratch))()

    return cost_of(run)["peak_mib"]


def sampling_rows(work: Workload, repeats: int, vllm: str | None = None) -> Iterator[dict]:
    """An answer of each of many raters to one prompt; and as many answers of one rater, whose prompt is read once.

    Ours are by a model with adapters, which are not merged, since others share its weights; vLLM's without adapters, which change nothing
    here, as they are fresh.
    """
    policy = make_policy_for(work, whole=False, trained=False)
    prompts = [work.renderer.prompt(work.prompts(1)[0])] * RATERS
    sampler = Sampler(policy, work.tokenizer.pad_token_id, -1, work.answer_tokens)  # no id ends an answer
    with ExitStack() as open_here:
        scratch = Path(open_here.enter_context(tempfile.TemporaryDirectory()))
        engine = open_here.enter_context(started(vllm, work.folder, work.dtype, work.answer_tokens)) if vllm else None
        for many in (RATERS, 1):
            raters = RaterBatch.people(work.vectors(many).repeat(RATERS // many, 1)).to(work.device)
            runs = {
                "generate": torch.inference_mode()(partial(by_generate, policy, prompts, raters, work.answer_tokens)),
                "ours": partial(sampler.generate, prompts, raters, 0),
            }
            if engine:
                file = write_prompts(scratch / f"{many}.safetensors", embedded(policy, prompts, raters)[0][:many])
                runs["vLLM"] = partial(engine.sample, file, RATERS // many)
            yield from timed(runs, work, repeats, f"{many} rater{'s' if many > 1 else ''}, {RATERS} answers of {work.answer_tokens} tokens")


def jury_rows(work: Workload, repeats: int) -> Iterator[dict]:
    """Many raters' scores of some answers, beside one judge's of the same: every text once, the prompt shared."""
    examples, raters = answers(work, JUDGED, JUDGED_TOKENS), RaterBatch.people(work.vectors(RATERS))
    judge = Scorer(make_reward_for(work, False, None, trained=False))
    runs = {"one judge": lambda: judge.pairs(examples, RaterBatch.nobody(1))}
    for conditioning in ("head", "suffix"):
        jury = Scorer(make_reward_for(work, False, conditioning, trained=False))
        runs[f"{RATERS} raters, {conditioning}"] = lambda jury=jury: jury.matrix(examples, raters)  # type: ignore[misc]
    inferred = {name: torch.inference_mode()(run) for name, run in runs.items()}
    yield from timed(inferred, work, repeats, f"{JUDGED} answers of {JUDGED_TOKENS} tokens")


def folder_rows(work: Workload, repeats: int) -> Iterator[dict]:
    """What a stage writes, with the raters of the jury."""
    pool = RaterPool([f"r{i}" for i in range(RATERS)], work.vectors(RATERS).numpy(), 0, "embedding")
    policy, reward = make_policy_for(work, whole=False), make_reward_for(work, whole=False)
    with tempfile.TemporaryDirectory() as scratch:
        for stage in ("sft", "reward"):
            folder = Path(scratch) / stage
            if stage == "sft":
                checkpoint.save_policy(folder, policy, work.tokenizer, pool, 384, {})
            else:
                checkpoint.save_reward(folder, reward, policy.lm, work.tokenizer, pool, 384, {})
            yield {"what": stage, "run": OURS, "mib": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB}
