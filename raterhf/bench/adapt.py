"""`raterhf bench adapt`: how long it takes to infer a person from so many comparisons: to read the texts, and to find the posterior.

Texts are random, two completions of a prompt to each comparison, and labels are drawn; a shape's model and population are random too (as
many components as a recipe lets the population have). Loading a model is not counted.
"""

from dataclasses import asdict
from functools import partial

import numpy as np
import torch

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.workload import Sizes, conditionings_of, draw_for, make_reward
from raterhf.engine.margins import margins_of
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.raters.inference import Noise, Statements, infer
from raterhf.raters.population import Population
from raterhf.terminal import show_table

COMPONENTS = 16
LABELS = (1, 10, 40, 200)


def bench_adapt(source: str, prompt_tokens: int, completion_tokens: int, device: torch.device, dtype: torch.dtype, repeats: int) -> dict:
    """A row for each number of labels: seconds to read the texts (where the trunk reads the rater that is in the other), and to infer."""
    if not (sites := conditionings_of(source, None)):
        raise UserError(f"{source} knows no raters by vectors, which alone are inferred; give another run or a shape")
    conditioning = "head" if "head" in sites else sites[0]
    model = make_reward(source, conditioning, 8, device, dtype, 4 * (prompt_tokens + completion_tokens) + 8)
    rng, k, scorer = np.random.default_rng(0), model.reader.dim, Scorer(model)
    prior = Population(np.full(COMPONENTS, 1 / COMPONENTS), rng.standard_normal((COMPONENTS, k)), np.stack([0.7 * np.eye(k)] * COMPONENTS))

    runs = {}
    for labels in LABELS:
        texts = draw_for(model, Sizes(labels, 2, prompt_tokens, completion_tokens, 0, 0.0))
        rater, said = np.zeros(labels, np.int64), rng.choice([-1, 1], labels)
        statements = Statements(rater, said, np.full(labels, -1), np.ones(labels))
        read = partial(margins_of, scorer, texts[::2], texts[1::2], rater)
        runs[f"{labels} read"] = read
        runs[f"{labels} inferred"] = partial(infer, read(), statements, Noise(np.array([0.1]), 0.02), prior, 1)
    times = interleaved(runs, repeats, device, "adapting")
    rows = [{"labels": labels} | {part: asdict(times[f"{labels} {part}"]) for part in ("read", "inferred")} for labels in LABELS]
    sizes = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "dim": k, "components": COMPONENTS}
    return {"machine": machine(device, dtype), "source": source, "conditioning": conditioning, "sizes": sizes, "rows": rows}


def print_adapt(found: dict) -> None:
    """A row for each number of labels."""
    on = found["machine"]
    log.info(f"{on['name']} ({on['device']}, {on['threads']} threads), {on['dtype']}, conditioning {found['conditioning']}")
    told = lambda time: f"{time['median']:.3f} ({time['low']:.3f} to {time['high']:.3f})"  # noqa: E731
    cells = [[str(row["labels"]), told(row["read"]), told(row["inferred"])] for row in found["rows"]]
    show_table(["labels", "seconds to read", "seconds to infer"], cells, title=f"{found['source']}: a person inferred, median (range)")
