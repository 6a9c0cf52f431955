"""`raterhf bench`: how fast this machine scores and trains."""

import json
from pathlib import Path
from typing import Annotated

import typer

from raterhf.verbs.common import Files, hush, make_app

bench_app = make_app(help="How fast this machine scores and trains, rung by rung.")


@bench_app.command("score")
def bench_score(
    source: Annotated[
        str, typer.Argument(metavar="[SHAPE|RUN]", help="20m, 0.6b, 1.7b (random weights), or a reward model's folder.")
    ] = "20m",
    raters: Annotated[list[int], typer.Option("--raters", "-k", min=1, help="Raters; may be given several times.")] = [1, 4, 16, 64, 256],  # noqa: B006
    site: Annotated[Files, typer.Option(help="prefix, suffix, head; may be given several times. A run's own where not given.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts.")] = 1,
    completions: Annotated[int, typer.Option(min=1, help="Completions of each prompt.")] = 8,
    prompt_tokens: Annotated[int, typer.Option(min=1)] = 256,
    completion_tokens: Annotated[int, typer.Option(min=1)] = 128,
    soft_tokens: Annotated[int, typer.Option(min=1, help="Soft tokens of a rater.")] = 8,
    spread: Annotated[float, typer.Option(min=0, help="Standard deviation of log-lengths; 0 is fixed lengths.")] = 0.0,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is faster here.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats, interleaved, after a warm-up.")] = 3,
    token_budget: Annotated[int, typer.Option(min=1, help="Most tokens of a forward pass.")] = 8192,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the figures there as JSON.")] = None,
) -> None:
    """Time the core loop: many raters on many completions.

    Prints a table for each site of the rater and number of raters; the first rung of each is what the others are compared with.
    """
    hush()
    from raterhf.bench.measure import pick_device, pick_dtype
    from raterhf.bench.score import bench_score as run
    from raterhf.bench.table import print_rows
    from raterhf.bench.workload import Sizes
    from raterhf.models.checkpoint import write_text

    device = pick_device()
    sizes = Sizes(prompts, completions, prompt_tokens, completion_tokens, soft_tokens, spread)
    found = run(source, sizes, raters, site, device, pick_dtype(dtype, device), repeats, token_budget)
    print_rows(found)
    if out:
        write_text(out, json.dumps(found, indent=1))
