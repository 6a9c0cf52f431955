"""`raterhf plan`: what training a recipe takes, before any is paid for."""

from typing import Annotated

import typer

from raterhf.cli.common import MOST, Overrides, RecipePath, load_checked, say, set_environment
from raterhf.errors import UserError

# By GiB of memory: name, TFLOP/s of products in float32 and in bfloat16, TB/s from its memory, GB/s to the next device: as their maker
# publishes them.
GPUS = {
    24: ("RTX 4090", 82.6, 165, 1.01, 25),
    40: ("A100 40 GB", 19.5, 312, 1.56, 300),
    48: ("L40S", 91.6, 362, 0.86, 25),
    80: ("A100 80 GB", 19.5, 312, 2.04, 300),
    141: ("H200", 67, 989, 4.8, 450),
}
OF_MACHINE, BETWEEN = 8, 25  # devices of a machine, and GB/s between machines

Positive = Annotated[float | None, typer.Option(min=1e-6)]


def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    gpus: Annotated[int, typer.Option(min=1, max=MOST, help="Devices; trainer.devices and num_nodes of the recipe are not read.")] = 1,
    gpu: Annotated[int, typer.Option(metavar="GIB", min=1, help=f"Memory of each, which names it: {', '.join(map(str, GPUS))}.")] = 80,
    hours: Annotated[float | None, typer.Option(min=0.001, help="Is it done in so many hours?")] = None,
    shape: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="In place of the recipe's model: 20m, 0.6b, 1.7b, 8b, 70b, of which no file is read."),
    ] = None,
    prompt_tokens: Annotated[float | None, typer.Option(min=1, help="Mean length of prompts, in place of the data's.")] = None,
    completion_tokens: Annotated[float | None, typer.Option(min=1, help="Likewise of completions.")] = None,
    labels: Annotated[int | None, typer.Option(min=1, help="So many comparisons: the reward stage reads each once.")] = None,
    raters: Annotated[int | None, typer.Option(min=2, help="So many known raters, in place of the data's.")] = None,
    scores: Annotated[int | None, typer.Option(min=1, help="Also what so many scores take.")] = None,
    jury: Annotated[int, typer.Option(min=1, max=MOST, help="Raters for whom each completion is scored.")] = 64,
    tflops: Annotated[float | None, typer.Option(min=0.001, help="TFLOP/s of a device in what the recipe computes in.")] = None,
    bandwidth: Annotated[float | None, typer.Option(min=0.001, help="TB/s from its memory.")] = None,
    link: Annotated[float | None, typer.Option(min=0.001, help="GB/s to the next device.")] = None,
    used: Annotated[float, typer.Option(min=0.01, max=1, help="Share of its TFLOP/s that training reaches.")] = 0.35,
) -> None:
    """Say what training a recipe takes: tokens, FLOPs, memory, hours, and what bounds each stage.

    Reads the recipe's data, a tokenizer and the model's shape, and no weights. What GPUs do is what their makers publish, and the share of
    it that training reaches is assumed: no figure was measured on a GPU.
    """
    resolved = load_checked(recipe, overrides)
    set_environment(resolved)
    if (prompt_tokens is None) != (completion_tokens is None):
        raise UserError("--prompt-tokens and --completion-tokens stand for the data's lengths together; give both, or neither")
    from raterhf.bench.workload import shape_settings
    from raterhf.training.budget import Devices
    from raterhf.training.budget_text import Asked, plan_text

    if shape is not None:
        settings = shape_settings(shape)
        changed = {"path": None, "config": settings, "vocab_size": settings.pop("vocab_size")}
        if prompt_tokens is None and resolved.model.path is not None:
            raise UserError(f"--shape {shape} has no tokenizer to read the data with; give --prompt-tokens and --completion-tokens")
        resolved = resolved.model_copy(update={"model": resolved.model.model_copy(update=changed)})
    if gpu not in GPUS and None in (tflops, bandwidth, link):
        raise UserError(f"--gpu {gpu}: known are GPUs of {', '.join(map(str, GPUS))} GiB; give --tflops, --bandwidth and --link of yours")
    name, whole, half, memory, next_to = GPUS.get(gpu, (f"GPU of {gpu} GiB", 0.0, 0.0, 0.0, 0.0))
    devices = Devices(
        gpus, gpu, 1e12 * (tflops or whole), 1e12 * (tflops or half), 1e12 * (bandwidth or memory),
        1e9 * (link or (next_to if gpus <= OF_MACHINE else BETWEEN)), used,
    )  # fmt: skip
    lengths = None if prompt_tokens is None or completion_tokens is None else (prompt_tokens, completion_tokens)
    say(plan_text(resolved, devices, name, Asked(lengths, labels, raters, scores, jury, hours)))
