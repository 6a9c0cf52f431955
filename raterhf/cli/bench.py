"""`raterhf bench`: how fast this machine scores, trains and samples. Verbs that time nothing are in `bench_quality.py`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from raterhf.cli.common import MOST, Dtype, Files, Overrides, RecipePath, Seed, make_app, set_environment
from raterhf.cli.parts import Workers, check_ray
from raterhf.errors import UserError

bench_app = make_app(help="How fast this machine scores, trains and samples, rung by rung.")

Source = Annotated[str, typer.Argument(metavar="[SHAPE|RUN]", help="20m, 0.6b, 1.7b (random weights), or a run folder.")]
Shape = Annotated[str, typer.Argument(metavar="[SHAPE]", help="20m, 0.6b, 1.7b (random weights).")]
Conditioning = Annotated[Files, typer.Option(help="prefix, suffix, head; may be given several times. A run's own where not given.")]
Prompts = Annotated[int, typer.Option(min=1, max=MOST, help="Prompts.")]
Completions = Annotated[int, typer.Option(min=1, max=MOST, help="Completions of each prompt.")]
PromptTokens = Annotated[int, typer.Option(min=1, max=MOST)]
CompletionTokens = Annotated[int, typer.Option(min=1, max=MOST)]
SoftTokens = Annotated[int, typer.Option(min=1, max=MOST, help="Soft tokens of a rater; a run's raters have their own.")]
Spread = Annotated[float, typer.Option(min=0, max=10, help="Standard deviation of log-lengths; 0 is fixed lengths.")]
Repeats = Annotated[int, typer.Option(min=1, max=MOST, help="Timed repeats, interleaved, after a warm-up.")]
Budget = Annotated[int, typer.Option(min=1, max=MOST, help="Most tokens of a forward pass.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the figures there as JSON.")]


@bench_app.command("score")
def bench_score(
    source: Source = "20m",
    raters: Annotated[list[int] | None, typer.Option("--raters", "-k", min=1, max=MOST, help="Raters; may be given several times.")] = None,
    conditioning: Conditioning = None,
    prompts: Prompts = 1,
    completions: Completions = 8,
    prompt_tokens: PromptTokens = 256,
    completion_tokens: CompletionTokens = 128,
    soft_tokens: SoftTokens = 8,
    spread: Spread = 0.0,
    dtype: Dtype = "auto",
    repeats: Repeats = 3,
    token_budget: Budget = 8192,
    out: Out = None,
) -> None:
    """Time the core loop: many raters (1, 4, 16, 64 and 256 where not given) on many completions.

    Prints a table for each conditioning of the rater and number of raters; the first rung of each is what the others are compared with.
    """
    set_environment()
    from raterhf.bench import score
    from raterhf.bench.workload import Sizes

    sizes = Sizes(prompts, completions, prompt_tokens, completion_tokens, soft_tokens, spread)
    _show(lambda *on: score.bench_score(source, sizes, raters or [1, 4, 16, 64, 256], conditioning, *on, repeats, token_budget), dtype, out)


@bench_app.command("train")
def bench_train(
    source: Source = "20m",
    conditioning: Conditioning = None,
    prompts: Prompts = 2,
    completions: Annotated[int, typer.Option(min=2, max=MOST, help="Completions of each prompt.")] = 8,
    prompt_tokens: PromptTokens = 256,
    completion_tokens: CompletionTokens = 128,
    soft_tokens: SoftTokens = 8,
    spread: Spread = 0.0,
    dtype: Dtype = "auto",
    repeats: Repeats = 3,
    token_budget: Budget = 8192,
    out: Out = None,
) -> None:
    """Time an update of the reward model: comparisons of the completions of each prompt, each by a rater of its own."""
    set_environment()
    from raterhf.bench import train
    from raterhf.bench.workload import Sizes

    sizes = Sizes(prompts, completions, prompt_tokens, completion_tokens, soft_tokens, spread)
    _show(lambda *on: train.bench_train(source, sizes, conditioning, *on, repeats, token_budget), dtype, out)


@bench_app.command("rollout")
def bench_rollout(
    source: Shape = "20m",
    raters: Annotated[int, typer.Option("--raters", "-k", min=1, max=MOST, help="Raters of each prompt.")] = 4,
    prompts: Prompts = 1,
    completions: Annotated[int, typer.Option(min=1, max=MOST, help="Samples of each rater and prompt.")] = 8,
    prompt_tokens: PromptTokens = 256,
    completion_tokens: CompletionTokens = 32,
    soft_tokens: SoftTokens = 8,
    spread: Spread = 0.0,
    compiled: Annotated[bool, typer.Option("--compile", help="Also time a compiled decoder, after minutes of compiling.")] = False,
    dtype: Dtype = "auto",
    repeats: Repeats = 3,
    out: Out = None,
) -> None:
    """Time sampling: several completions of each rater and prompt."""
    set_environment()
    from raterhf.bench import rollout
    from raterhf.bench.workload import Sizes

    sizes = Sizes(prompts, completions, prompt_tokens, completion_tokens, soft_tokens, spread)
    _show(lambda *on: rollout.bench_rollout(source, sizes, raters, compiled, *on, repeats), dtype, out)


@bench_app.command("adapt")
def bench_adapt(
    source: Source = "20m",
    prompt_tokens: PromptTokens = 32,
    completion_tokens: CompletionTokens = 32,
    dtype: Dtype = "float32",
    repeats: Repeats = 3,
    out: Out = None,
) -> None:
    """Time inferring a person from 1, 10, 40 and 200 comparisons, at conditioning head or a run's own."""
    set_environment()
    from raterhf.bench import adapt
    from raterhf.models.place import pick_device, pick_dtype

    device = pick_device()
    found = adapt.bench_adapt(source, prompt_tokens, completion_tokens, device, pick_dtype(dtype, device), repeats)
    adapt.print_adapt(found)
    if out:
        write_figures(out, found)


@bench_app.command("rloo")
def bench_rloo(
    source: Shape = "20m",
    prompts: Prompts = 2,
    completions: Annotated[int, typer.Option(min=2, max=MOST, help="Samples of each prompt.")] = 8,
    prompt_tokens: PromptTokens = 256,
    completion_tokens: CompletionTokens = 128,
    dtype: Dtype = "auto",
    repeats: Repeats = 3,
    out: Out = None,
) -> None:
    """Time an update of RLOO, samples and scores included, beside TRL's RLOOTrainer."""
    set_environment()
    from raterhf.bench import rloo
    from raterhf.bench.workload import Sizes

    sizes = Sizes(prompts, completions, prompt_tokens, completion_tokens, 0, 0.0)
    _show(lambda *on: rloo.bench_rloo(source, sizes, *on, repeats), dtype, out)


@bench_app.command("lm")
def bench_lm(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a pretrained chat model.")],
    part: Annotated[
        Files, typer.Option(help="updates, memory, sampling, jury, folders; may be given several times. All where not given.")
    ] = None,
    batch: Annotated[int, typer.Option(min=4, max=MOST, help="Demonstrations, comparisons or samples of an update; an even number.")] = 8,
    prompt_words: Annotated[int, typer.Option(min=1, max=MOST, help="Words of a prompt, beside what the chat template adds.")] = 16,
    completion_tokens: CompletionTokens = 40,
    soft_tokens: SoftTokens = 8,
    rank: Annotated[int, typer.Option(min=1, max=MOST, help="Rank of the adapters.")] = 16,
    updates: Annotated[int, typer.Option(min=1, max=MOST, help="Updates in a row that are timed together.")] = 2,
    checkpointing: Annotated[bool, typer.Option(help="Train with model.gradient_checkpointing: less memory, a forward pass more.")] = False,
    vllm: Annotated[str | None, typer.Option(metavar="PYTHON", help="Of an environment that has vLLM, which then samples too.")] = None,
    dtype: Dtype = "auto",
    repeats: Repeats = 3,
    out: Out = None,
) -> None:
    """Time what a pretrained chat model costs with adapters: updates of the stages beside TRL's and beside training all weights, their
    memory, answers of many raters, a jury, and the size of a stage's folder.
    """
    set_environment()
    from raterhf.bench import lm
    from raterhf.bench.lm_updates import Workload
    from raterhf.bench.table import print_lm
    from raterhf.models.load import check_model

    if wrong := [name for name in part or [] if name not in lm.PARTS]:
        raise UserError(f"--part {wrong[0]} is none of {', '.join(lm.PARTS)}")
    if batch % 2:
        raise UserError(f"--batch {batch} is odd, and half of a batch is of one prompt; give an even number")
    check_model(model)
    sizes = (batch, prompt_words, completion_tokens, soft_tokens, rank, updates, checkpointing)
    _show(lambda *on: lm.bench_lm(Workload(model, *on, *sizes), part or list(lm.PARTS), repeats, vllm), dtype, out, print_lm)


@bench_app.command("explore")
def bench_explore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (runs/NAME) with a model that answers.")],
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="The question; the first of the run's data where not given.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="Fictitious people who are asked.")] = 12,
    repeats: Annotated[int, typer.Option(min=1, max=MOST, help="Visits that count, after one that does not.")] = 5,
    out: Out = None,
) -> None:
    """Time how long a person waits for the page of `raterhf explore`: until it shows, until a question can be typed, for the first token
    and for all answers. Opens it in a Chromium without a window, by playwright.
    """
    set_environment()
    from raterhf.bench import explore

    found = explore.bench_explore(run, prompt, n, repeats)
    explore.print_explore(found)
    if out:
        write_figures(out, found)


@bench_app.command("accuracy")
def bench_accuracy(
    recipe: RecipePath,
    overrides: Overrides = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="The accuracy to reach.")] = 0.755,
    conditioning: Annotated[Files, typer.Option(help="prefix, suffix, head; may be given several times. All where not given.")] = None,
    every: Annotated[int, typer.Option(min=1, max=MOST, help="Updates between two looks at the accuracy.")] = 10,
    unshared: Annotated[bool, typer.Option("--unshared", help="Also time updates of the prefix model without sharing.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End a conditioning's training where it reaches the accuracy.")] = False,
    split: Annotated[
        str | None, typer.Option(help="Measure on this split of the data, not on comparisons kept back of those trained on.")
    ] = None,
    out: Out = None,
) -> None:
    """Time how soon a recipe's reward model reaches an accuracy, for each conditioning of the rater."""
    from raterhf.recipe_reader import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    set_environment(resolved)
    if resolved.reward is None or resolved.raters.encoding != "embedding":
        raise UserError(f"{recipe}: the conditioning of the rater needs the stage reward and raters.encoding embedding")
    from raterhf.bench import accuracy
    from raterhf.bench.table import print_accuracy
    from raterhf.bench.workload import check_conditionings

    conditionings = check_conditionings(conditioning)
    if unshared and "prefix" not in conditionings:
        raise UserError("--unshared times the prefix model without sharing; add --conditioning prefix, or leave it out")
    found = accuracy.bench_accuracy(resolved, conditionings, target, every, unshared, stop, split)
    print_accuracy(found)
    if out:
        write_figures(out, found)


@bench_app.command("plan")
def bench_plan(
    updates: Annotated[int, typer.Option(min=3, max=MOST, help="Updates that are timed, of each stage, size and number of processes.")] = 3,
    out: Out = None,
) -> None:
    """Hold what `raterhf plan` says of this machine against what updates take: three sizes, by one process and by two."""
    set_environment()
    from raterhf.bench import plan
    from raterhf.models.place import pick_device

    if pick_device().type != "cpu":
        raise UserError("bench plan counts bytes on a CPU, and there is a GPU; hide it: CUDA_VISIBLE_DEVICES= raterhf bench plan")
    found = plan.bench_plan(updates, pick_device())
    plan.print_plan(found)
    if out:
        write_figures(out, found)


@bench_app.command("scale")
def bench_scale(
    raters: Annotated[list[int] | None, typer.Option("--raters", "-k", min=100, max=MOST, help="Raters; 1000, 10000, 100000 else.")] = None,
    labels: Annotated[int, typer.Option(min=1, max=1000, help="Comparisons of each rater.")] = 20,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Time what is done for every rater and needs no GPU, as raters grow ten times: pools, planning, populations, batches, inference.

    The last column is the exponent by which seconds grow with raters at the end of the ladder: 1 is linear.
    """
    set_environment()
    from raterhf.bench import scale

    found = scale.bench_scale(sorted(set(raters or [1000, 10_000, 100_000])), labels, seed)
    scale.print_scale(found)
    if out:
        write_figures(out, found)


@bench_app.command("parts")
def bench_parts(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (runs/NAME) with a stage reward.")],
    rows: Annotated[int, typer.Option(min=10, max=10**9, help="Completions in the file.")] = 10**6,
    raters: Annotated[int, typer.Option("--raters", "-k", min=1, max=MOST, help="Fictitious raters who score each.")] = 64,
    workers: Workers = None,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Time scoring with `--engine ray` on a file made for it, beside one process on a tenth of it, and look at memory while it goes on."""
    set_environment()
    check_ray()
    from raterhf.bench import parts

    found = parts.bench_parts(run, rows, raters, workers, seed)
    parts.print_parts(found)
    if out:
        write_figures(out, found)


@bench_app.command("data")
def bench_data(
    rows: Annotated[int, typer.Option(min=100, max=10**8, help="Comparisons in a file.")] = 10**6,
    raters: Annotated[int, typer.Option(min=2, max=10**6, help="People who judged.")] = 1000,
    words: Annotated[int, typer.Option(min=1, max=MOST, help="Words of an answer, about.")] = 20,
    labels: Annotated[int, typer.Option(min=1, max=MOST, help="Comparisons of a prompt, on average; at 1 nearly all texts differ.")] = 20,
    formats: Annotated[Files, typer.Option("--format", metavar="FORMAT", help="jsonl, csv, parquet; may be given several times.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=MOST, help="Threads that the check may use.")] = 2,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Time `raterhf data check` on many rows: seconds and the most memory, for each format of file.

    The files are made for it in a temporary folder, and removed.
    """
    from raterhf.bench import data

    if strangers := [form for form in formats or [] if form not in data.FORMATS]:
        raise UserError(f"--format {strangers[0]}: files are {', '.join(data.FORMATS)}; name one of these")
    found = data.bench_data(rows, raters, words, labels, list(formats or data.FORMATS), threads, seed)
    data.print_data(found)
    if out:
        write_figures(out, found)


def _show(run, dtype: str, out: Path | None, show=None) -> None:
    """Run on this machine's device in this dtype, print the tables, write the figures."""
    from raterhf.bench.table import print_rows
    from raterhf.models.place import pick_device, pick_dtype

    device = pick_device()
    found = run(device, pick_dtype(dtype, device))
    (show or print_rows)(found)
    if out:
        write_figures(out, found)


def write_figures(out: Path, found: dict) -> None:
    from raterhf.io import write_text

    write_text(out, json.dumps(found, indent=1))
