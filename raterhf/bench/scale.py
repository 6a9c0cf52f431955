"""`raterhf bench scale`: what grows with the number of raters and needs no GPU, and how fast it grows.

Raters, their labels and populations are drawn at random, in the sizes that a run of so many raters has: vectors of 8 dimensions, a group of
every twenty of them, tastes in a mixture of four. Seconds are the processor's, since other programs may want it meanwhile. Each part is
timed once, but what takes less than a tenth of a second three times.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from raterhf.data.batches import StepRows
from raterhf.data.example import Example
from raterhf.engine.plan import plan
from raterhf.evaluation.metrics.two_samples import copying
from raterhf.log import log
from raterhf.raters.files import load_pool, save_pool
from raterhf.raters.inference import Noise, Statements, infer
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population, fit_population
from raterhf.raters.space import RaterSpace
from raterhf.terminal import show_table

DIM, GROUP = 8, 20  # of a vector; raters of a group
STEPS, BATCH = 200, 64
ANSWERED, PEOPLE = 12, 400  # questions, and fictitious raters whose answers are compared with those of all
JURY = 4  # completions that all raters score
QUICK, AGAIN = 0.1, 3

Part = tuple[str, Callable[[], object]]


def bench_scale(raters: list[int], labels: int, seed: int) -> dict:
    """Rows of `part`, `seconds` by number of raters, and the `exponent` between the last two numbers; None of what takes no time."""
    seconds: dict[str, list[float]] = {}
    for count in raters:
        with tempfile.TemporaryDirectory() as folder:
            for name, run in parts(count, labels, seed, Path(folder)):
                seconds.setdefault(name, []).append(timed(run))
                log.info(f"  {count} raters: {name}: {seconds[name][-1]:.3g} s")
    rows = [{"part": name, "seconds": taken, "exponent": exponent(raters, taken)} for name, taken in seconds.items()]
    return {"raters": raters, "labels": labels, "seed": seed, "rows": rows}


def timed(run: Callable[[], object]) -> float:
    taken: list[float] = []
    while not taken or taken[0] < QUICK and len(taken) < AGAIN:
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def exponent(counts: list[int], seconds: list[float]) -> float | None:
    """By which power of the count the seconds grow at the end; None where there is one count, or they are too few to say."""
    if len(counts) < 2 or seconds[-1] < QUICK:
        return None
    return math.log(seconds[-1] / max(seconds[-2], 1e-6)) / math.log(counts[-1] / counts[-2])


def parts(count: int, labels: int, seed: int, folder: Path) -> Iterator[Part]:
    """What is timed with so many raters."""
    rng = np.random.default_rng(seed)
    ids = [f"r{i:07d}" for i in range(count)]
    kind = rng.integers(4, size=count)
    vectors = (3 * rng.standard_normal((4, DIM))[kind] + rng.standard_normal((count, DIM))).astype(np.float32)
    groups = {rater_id: f"g{i // GROUP}" for i, rater_id in enumerate(ids)}
    everybody = Population(np.ones(1), np.zeros((1, DIM)), np.eye(DIM)[None])
    pool = RaterPool(ids, vectors, 64, "embedding", {}, groups, {"": everybody})
    new = [(f"n{i:07d}", np.zeros(DIM, np.float32), np.eye(DIM, dtype=np.float32), None) for i in range(count // 10)]
    yield "save a pool and load it", lambda: (save_pool(folder, pool), load_pool(folder))
    yield "a tenth more raters become known", lambda: pool.with_raters(new)
    yield "forget a tenth", lambda: pool.without(ids[: count // 10])
    yield "resolve all", lambda: pool.resolve("all", 1, 0)
    yield "draw as many fictitious ones", lambda: pool.resolve(f"new:{count}x", 1, 0, counted=True)
    yield "fit a population of four", lambda: fit_population(vectors, [4], [1.0], seed)
    texts = [Example((*range(40), *rng.integers(100, size=20).tolist()), 40) for _ in range(JURY)]
    for conditioning, soft in (("prefix", 8), ("suffix", 8)):
        wanted, who = texts * count, np.repeat(np.arange(count), JURY)
        yield (
            f"plan {JURY} scores of each, {conditioning}",
            lambda conditioning=conditioning, soft=soft, wanted=wanted, who=who: plan(wanted, who, conditioning, soft, 8192),
        )
    asked = rng.integers(max(2, count // 10), size=labels * count)

    def batches() -> None:
        rows = StepRows(asked, BATCH, 16, seed)
        for step in range(STEPS):
            rows(step)

    yield f"{STEPS} batches of {labels} labels each", batches
    yield "infer a tenth from their labels", lambda: inferred(count // 10, labels, rng, everybody)
    said = rng.integers(4, size=(count, ANSWERED))
    yield f"copying, of {PEOPLE} fictitious ones", lambda: copying(said[:PEOPLE], said, said[:PEOPLE])
    yield "a step's rater vectors", lambda: stepped(count)


def inferred(people: int, labels: int, rng: np.random.Generator, prior: Population) -> object:
    """People inferred from comparisons whose margins are linear in taste, as those of conditioning head are."""
    slope, rater = rng.standard_normal((people * labels, DIM)), np.repeat(np.arange(people), labels)
    label = np.where(rng.random(len(rater)) < 0.5, 1, -1)
    statements = Statements(rater, label, np.full(len(rater), -1), np.ones(len(rater)))
    return infer(lambda tastes: ((tastes[rater] * slope).sum(1), slope), statements, Noise(np.array([0.1]), 0.05), prior, people)


def stepped(count: int) -> None:
    """What training does with the vectors of all raters in a step: those of a batch under noise as wide as all, and their gradients."""
    import torch

    space = RaterSpace(count, DIM, 1.0)
    optimizer = torch.optim.AdamW(space.parameters())
    for step in range(10):
        space(torch.arange(BATCH) * (step + 1) % count).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def print_scale(found: dict) -> None:
    cells = [
        [row["part"], *(f"{seconds:.3g}" for seconds in row["seconds"]), "" if row["exponent"] is None else f"{row['exponent']:.2f}"]
        for row in found["rows"]
    ]
    columns = ["part", *(f"{count:,} raters" for count in found["raters"]), "exponent"]
    show_table(columns, cells, ["part"], f"seconds; {found['labels']} labels a rater, seed {found['seed']}")
