"""`raterhf bench plan`: what `raterhf plan` says of this machine, beside what updates take here, by one process and by two.

Models of random weights and three sizes train on texts of one length, by the stages' own modules and `fit`. What the plan must know of a
device is measured, in as many processes as it is foretold for, since two threads of one core are two slower devices: FLOP/s of a matrix
product, bytes a second from memory and between processes. The share of the FLOP/s that training reaches, and the seconds of an update that
are the same however many share it, come from two rows, the middle and the largest size's imitation by one process; every other row is
foretold. A process has one thread. Seconds are those of its processor, since other programs may want it meanwhile; what a process waits for
another is not in them. Bytes are what torch has allocated at most, as its profiler counts, in one process.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.profiler import ProfilerActivity, profile

from raterhf.bench.measure import machine
from raterhf.bench.workload import SMALL
from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.data.example import Example
from raterhf.log import log, show_log
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.recipe import Optimisation, Recipe
from raterhf.recipe_reader import parse_recipe
from raterhf.terminal import show_table
from raterhf.training import ranks
from raterhf.training.algorithms.imitation import Demonstrations
from raterhf.training.budget import Cost, Devices, costs
from raterhf.training.fit import fit
from raterhf.training.reward_module import RewardBatch, RewardModule
from raterhf.training.stages.imitation import imitate
from raterhf.training.start import spare_memory
from raterhf.training.step_texts import Lengths, steps_for

# Three sizes in the shape of Qwen3, by millions of parameters beside the embeddings.
SIZES = {
    "2m": SMALL
    | {"hidden_size": 192, "num_hidden_layers": 5, "intermediate_size": 512, "num_attention_heads": 3, "num_key_value_heads": 1},
    "3m": SMALL | {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 704, "num_attention_heads": 4},
    "5m": SMALL
    | {"hidden_size": 320, "num_hidden_layers": 5, "intermediate_size": 864, "num_attention_heads": 5, "num_key_value_heads": 1},
}
STAGES = ("sft", "reward")
CALIBRATED = ("sft", "3m"), ("sft", "5m")
BATCH, PROMPT, COMPLETION, RATERS = 16, 32, 96, 32
VOCABULARY = 300
BUFFER = 2**26  # bytes that are copied and exchanged to measure how fast
SIDE, TIMES = 1024, 15  # of matrices whose product is timed, and how often anything is


@dataclass(frozen=True)
class Measured:
    """Seconds of an update: median, least and most; bytes allocated at most, where asked for."""

    seconds: float
    low: float
    high: float
    bytes: float | None = None


def bench_plan(updates: int, device: torch.device) -> dict:
    """Rows of stage, size and processes: seconds and bytes, foretold and measured."""
    torch.set_num_threads(1)
    found = {"machine": machine(device, torch.float32), "batch": BATCH, "tokens": [PROMPT, COMPLETION], "updates": updates}
    recipes = {size: recipe_of(shape) for size, shape in SIZES.items()}
    (alone, one), (both, two) = (in_processes(count, updated, updates) for count in (1, 2))
    used, overhead = calibrated(recipes, alone, one)
    rows = []
    for taken, devices in ((alone, one), (both, two)):
        for (stage, size), seen in taken.items():
            cost = foretold(recipes[size], stage, replace(devices, used=used, overhead=overhead))
            rows.append({
                "stage": stage, "size": size, "processes": devices.count,
                "calibrated": devices.count == 1 and (stage, size) in CALIBRATED,
                "seconds": seen.seconds, "low": seen.low, "high": seen.high, "foretold": 3600 * cost.hours,
                "bytes": seen.bytes, "foretold_bytes": sum(cost.memory.values()),
            })  # fmt: skip
    speeds = [{"processes": one.count, "flops": one.float32, "bandwidth": one.bandwidth} for one in (one, two)]
    return found | {"speeds": speeds, "link": two.link, "used": used, "overhead": overhead, "rows": rows}


def calibrated(recipes: dict[str, Recipe], seen: dict[tuple[str, str], Measured], devices: Devices) -> tuple[float, float]:
    """The share of the FLOP/s that is reached, and the seconds of overhead, by which the plan says what two rows take."""
    products, left = [], []
    for stage, size in CALIBRATED:
        parts = foretold(recipes[size], stage, devices).seconds
        products.append(parts["products"])
        left.append(seen[stage, size].seconds - sum(seconds for name, seconds in parts.items() if name != "products"))
    slope = max((left[1] - left[0]) / (products[1] - products[0]), 1e-9)
    return 1 / slope, max(0.0, left[0] - slope * products[0])


def recipe_of(shape: dict) -> Recipe:
    """The recipe of what is measured: one update on texts of the same length, each comparison of a prompt of its own."""
    config = {key: value for key, value in shape.items() if key != "vocab_size"} | {"tie_word_embeddings": True}
    stage = {"steps": 1, "batch_size": BATCH, "lr": 1e-4}
    return parse_recipe(
        {
            "name": "plan", "data": {"comparisons": "none.csv", "demonstrations": "none.csv"},
            "model": {"config": config, "vocab_size": VOCABULARY, "max_length": PROMPT + COMPLETION},
            "raters": {"dim": 8, "tokens": 8, "idiosyncratic_dim": 0},
            "reward": stage | {"off_topic": 0, "demonstrations": 0}, "sft": stage | {"replay": 0.0},
        },
        "of the benchmark",
    )  # fmt: skip


def foretold(recipe: Recipe, stage: str, devices: Devices) -> Cost:
    """What the plan says of one update."""
    return next(cost for cost in costs(recipe, steps_for(recipe, Lengths(PROMPT, COMPLETION)), devices, "cpu") if cost.stage == stage)


def in_processes(count: int, run: Callable, *arguments: object):
    """What `run` gives in the first of so many new processes."""
    here = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
    config = LaunchConfig(1, 1, count, run_id="plan", max_restarts=0, start_method="spawn", **here)
    return elastic_launch(config, run)(*arguments)[0]


def updated(updates: int) -> tuple[dict[tuple[str, str], Measured], Devices]:
    """One of the processes: what updates of each stage and size take, and what the plan must know of such processes."""
    torch.set_num_threads(1)
    show_log()
    found = {}
    with ranks.joined():
        for size, shape in SIZES.items():
            for stage in STAGES:
                if ranks.first():
                    log.info(f"  {stage} of {size} by {ranks.count()}")
                with tempfile.TemporaryDirectory() as scratch:
                    found[stage, size] = measured(recipe_of(shape), stage, updates, Path(scratch))
        link = exchanged() if ranks.count() > 1 else math.inf
        rates = product_rate(), measured_bandwidth()
        found_here = Devices(ranks.count(), 0, rates[0], 0, rates[1], link, 1.0)
    return found, found_here


def measured(recipe: Recipe, stage: str, updates: int, scratch: Path) -> Measured:
    """Seconds of the processor between updates, the first apart; by one process also the bytes."""
    module, make = trained(recipe, stage)
    began: list[float] = []

    def batch(step: int) -> object:
        began.append(time.process_time())
        return make(step)

    fit(module, batch, Optimisation(steps=updates + 2, batch_size=BATCH, lr=1e-4), scratch / stage, {})
    seconds = np.diff(began)[1:]
    most = None if ranks.count() > 1 else bytes_of(module) + peak_of(lambda: one_more(module, make, scratch))
    return Measured(float(np.median(seconds)), float(seconds.min()), float(seconds.max()), most)


def one_more(module, make: Callable, scratch: Path) -> None:
    """Two updates: moments are there in the second."""
    fit(module, make, Optimisation(steps=2, batch_size=BATCH, lr=1e-4), scratch / "again", {})


def trained(recipe: Recipe, stage: str) -> tuple:
    """The stage's module with random weights, and its batches of random texts."""
    tokenizer = train_tokenizer(["a"], VOCABULARY)
    lm = build_model(recipe.model.config, tokenizer, PROMPT + COMPLETION, 0)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 250, (2 * BATCH, PROMPT + COMPLETION))
    if stage == "sft":
        policy = make_policy(lm, tokenizer, 8, 8)
        spare_memory(policy, recipe.model)
        examples = [Example(tuple(row.tolist()), PROMPT) for row in ids]
        people = RaterBatch.people(torch.randn(len(examples), 8, generator=torch.Generator().manual_seed(0)))
        return imitate(
            policy, lambda rows, step: Demonstrations([examples[i] for i in rows], people[rows], torch.ones(len(rows)), {}), len(examples),
            BATCH, 0,
        )  # fmt: skip
    ids[BATCH:, :PROMPT] = ids[:BATCH, :PROMPT]  # the sides of a comparison share their prompt
    number = np.arange(BATCH)
    examples = [Example(tuple(row.tolist()), PROMPT) for row in ids]
    data = ComparisonData(examples, number, BATCH + number, np.ones(BATCH, np.int64), number % RATERS, number)
    none = np.zeros(0, np.int64)
    model = RewardModel(lm.get_decoder(), 8, 8, "head")
    spare_memory(model, recipe.model)
    module = RewardModule(model, RaterSpace(RATERS, 8, 1.0), 0.1, None, 0)
    return module, lambda step: RewardBatch(data, ComparisonData.nothing(), OwnAnswers([], none, none))


def bytes_of(module: torch.nn.Module) -> int:
    """Of parameters and buffers, shared ones once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in [*module.parameters(), *module.buffers()]}
    return sum(storages.values())


def peak_of(run: Callable[[], object]) -> int:
    """The most bytes that torch has allocated during `run`, beyond those allocated before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    held = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def product_rate() -> float:
    """FLOP/s of a product of two square matrices, while every process does one."""
    a, b = torch.randn(2, SIDE, SIDE)
    return 2 * SIDE**3 / together(lambda: a @ b)


def measured_bandwidth() -> float:
    """Bytes a second that a copy reads and writes, while every process copies."""
    source, target = torch.ones(BUFFER // 4), torch.zeros(BUFFER // 4)
    return 2 * BUFFER / together(lambda: target.copy_(source))


def together(run: Callable[[], object]) -> float:
    """Seconds of the processor, the median of some after one, while every process does the same."""
    taken = []
    for _ in range(1 + TIMES):
        ranks.wait()
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return float(np.median(taken[1:]))


def exchanged() -> float:
    """Bytes a second between two processes: of their exchange each sends and receives a tensor's size."""
    buffer = torch.ones(BUFFER // 4)
    return BUFFER / together(lambda: distributed.all_reduce(buffer))


def print_plan(found: dict) -> None:
    on = found["machine"]
    log.info(
        f"{on['name']} ({on['device']}, a thread a process); {found['used']:.0%} of a matrix product's FLOP/s is reached, and an "
        f"update takes {found['overhead']:.2g} s besides"
    )
    for one in found["speeds"]:
        rates = f"matrix product {one['flops'] / 1e9:.0f} GFLOP/s, {one['bandwidth'] / 1e9:.1f} GB/s from memory"
        log.info(f"{one['processes']} processes, each: {rates}")
    log.info(f"{found['link'] / 1e9:.2f} GB/s between two processes")
    cells = []
    for row in found["rows"]:
        ratio = "calibrated" if row["calibrated"] else f"{row['foretold'] / row['seconds']:.2f}"
        more = ["", "", ""]
        if row["bytes"]:
            more = [f"{row['bytes'] / 2**20:.0f}", f"{row['foretold_bytes'] / 2**20:.0f}", f"{row['foretold_bytes'] / row['bytes']:.2f}"]
        taken = f"{row['seconds']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
        cells.append([row["stage"], row["size"], str(row["processes"]), taken, f"{row['foretold']:.3g}", ratio, *more])
    columns = ["stage", "size", "processes", "processor seconds", "foretold", "ratio", "MiB", "foretold MiB", "ratio of MiB"]
    title = f"an update on {found['batch']} texts or pairs, median of {found['updates']} [least, most]"
    show_table(columns, cells, columns[:2], title)
