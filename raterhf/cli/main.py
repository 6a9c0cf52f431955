"""The command line: `raterhf VERB`. Each verb reads its arguments, calls one function, and prints.

A user's mistake (UserError), or a file that cannot be read or written, is one message on stderr and exit code 2; an interrupt is exit code
130. Where whoever reads stdout has gone (`| head`), the verb ends without a word and with exit code 141, as the shell's own do. Everything
heavy is imported inside the verbs, so that help answers at once.
"""

import json
import logging
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

import raterhf
from raterhf.cli.bench_quality import bench_app
from raterhf.cli.common import (
    MOST,
    Deterministic,
    DryRun,
    Dtype,
    Files,
    Group,
    Overrides,
    RecipePath,
    Run,
    Seed,
    colour,
    load_checked,
    make_app,
    say,
    set_environment,
)
from raterhf.cli.explore import explore
from raterhf.cli.files import data_app, recipes_app
from raterhf.cli.parts import Engine, Workers, answer_parts, check_engine
from raterhf.cli.people import adapt, ask, audit, personas
from raterhf.cli.plan import plan
from raterhf.cli.raters import raters_app
from raterhf.engine.memory import keep_freed_memory
from raterhf.errors import UserError
from raterhf.log import show_log

RESUMABLE = ("train", "compare")


class Verbs(TyperGroup):
    """Runs a verb; turns mistakes and interrupts into messages and exit codes."""

    def make_context(self, *args, **extra) -> typer.Context:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed, as by >&-
                setattr(sys, name, open(os.devnull, "w"))
        try:
            return super().make_context(*args, **extra)
        except OSError as error:  # help is printed while arguments are read
            raise typer.Exit(_report(error)) from error

    def invoke(self, ctx: typer.Context) -> object:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that has gone shows here, not while Python shuts down
            return result
        except (UserError, OSError) as error:
            raise typer.Exit(_report(error, ctx.params.get("debug", False))) from error
        except KeyboardInterrupt as stop:
            again = "Run the same command again: it resumes." if ctx.invoked_subcommand in RESUMABLE else "Nothing was written."
            say(f"\nInterrupted. {str(stop) or again}", err=True)
            raise typer.Exit(130) from None


def _report(error: UserError | OSError, debug: bool = False) -> int:
    """Say what went wrong; its exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # or Python would try it again while it shuts down
    if _beside_others():
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)  # which torchrun shows, where the first process has met no mistake itself
        return 2
    if isinstance(error, BrokenPipeError):
        return 141
    typer.secho("Error: ", fg="red", bold=True, nl=False, err=True, color=colour())
    say(error if isinstance(error, UserError) else _unusable(error), err=True)
    if debug:
        say("".join(traceback.format_exception(error)), err=True)
    return 2


def _beside_others() -> bool:
    """Whether torchrun started this process as another than the first, which speaks for all."""
    return "TORCHELASTIC_ERROR_FILE" in os.environ and os.environ.get("RANK", "0") != "0"


def _unusable(error: OSError) -> str:
    return (
        f"{error.filename or 'stdout or a file'} cannot be read or written ({error.strerror or error}); see that it is there, that you may "
        "use it and that the disk has room, and run again"
    )


app = make_app(cls=Verbs, help="Preference training that keeps the raters apart.", add_completion=False)
app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")
app.add_typer(raters_app, name="raters")
app.add_typer(bench_app, name="bench")


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error was raised and what caused it.")] = False,
) -> None:
    if version:
        say(raterhf.__version__)
        raise typer.Exit
    keep_freed_memory()
    show_log(logging.ERROR if _beside_others() else logging.INFO)


@app.command()
def train(
    recipe: RecipePath,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    gpu: Annotated[float | None, typer.Option(metavar="GIB", min=1, help="With --dry-run: does it fit a GPU of so many GiB?")] = None,
) -> None:
    """Run a recipe's stages in order into runs/NAME/STAGE.

    Finished stages are skipped, an interrupted one resumes.
    """
    from raterhf.recipe_reader import dump_recipe

    if gpu is not None and not dry_run:
        raise UserError(f"--gpu {gpu:g} asks whether a GPU is large enough, and trains on none; add --dry-run, or leave it out")
    if dry_run:
        set_environment()  # without the network
    resolved = load_checked(recipe, overrides)
    if dry_run:
        say(dump_recipe(resolved), nl=False)
        from raterhf.training.estimate import estimate_text
        from raterhf.training.preview import preview_text

        told = f"{estimate_text(resolved, gpu)}\n{preview_text(resolved)}"
        say("".join(f"# {line}\n" for line in told.splitlines()), nl=False)
        return
    set_environment(resolved)
    from raterhf.data.labels import check_recipe

    check_recipe(resolved)
    raterhf.train(resolved)
    if _beside_others():
        return
    rated = resolved.raters.encoding != "none"
    verb = f'sample {resolved.folder} --prompt "..." --rater {"new" if rated and "sft" in resolved.stages else "none"} -n 10'
    if "reward" in resolved.stages and "sft" not in resolved.stages:
        verb = f"score {resolved.folder} FILE --raters {'new:16x' if rated else 'none'}"
    say(f"done: {resolved.folder}\nnext: raterhf {verb}")


app.command()(plan)


@app.command()
def compare(
    recipe: RecipePath,
    overrides: Overrides = None,
    controls: Annotated[str | None, typer.Option(metavar="all|A,B", help="Policies to measure; the recipe's where not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=MOST, help="Seeds to train and measure: the recipe's and those after it.")] = 1,
    dry_run: DryRun = False,
) -> None:
    """Train what is missing and measure it against vanilla.

    Writes metrics.json, plots and report.html into runs/NAME/compare.
    """
    from raterhf.recipe_reader import dump_recipe

    resolved = load_checked(recipe, overrides)
    if dry_run:
        say(dump_recipe(resolved), nl=False)
        return
    set_environment(resolved)
    named = [name.strip() for name in controls.split(",")] if controls else None
    say(f"done: {raterhf.compare(resolved, named, seeds)}")


@app.command()
def sample(
    run: Run,
    prompt: Annotated[Files, typer.Option("--prompt", metavar="TEXT", help="A prompt; may be given several times.")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with a column `prompt` (JSONL, CSV, parquet).")] = None,
    rater: Annotated[str, typer.Option(metavar="SPEC", help="new, new:7, an ID, persona:NAME, all, or none: nobody.")] = "new",
    group: Group = None,
    n: Annotated[int, typer.Option("-n", min=1, max=MOST, help="Fresh raters for each prompt, or samples of each named rater.")] = 1,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy. Diversity comes from raters: leave it at 1.")] = 1.0,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, max=MOST, help="Longest completion; the recipe's where not given.")] = None,
    deterministic: Deterministic = False,
    engine: Engine = None,
    workers: Workers = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="With --engine ray: where its parts go.")] = None,
) -> None:
    """Answer prompts as a rater would.

    Prints JSON lines: prompt, completion, rater, log_prob (nats), finished, stage: which model answered, the last one trained. With
    `new`, n fictitious raters answer, each of them every prompt. With --engine ray the rows of --prompts, a parquet file or a folder of
    them, are answered by a pool of workers into parts; the same command does those that are missing.
    """
    set_environment()
    from raterhf.data.requests import read_prompts
    from raterhf.raters.files import check_specs
    from raterhf.run_folder import untrained_stages

    if check_engine(engine, workers, out, {"--prompt": prompt}):
        if prompts is None:
            raise UserError("--engine ray answers the rows of a file; name it with --prompts FILE")
        check_specs(run, [rater], ("policy", "sft", "base"))
        settings = {"rater": rater, "n": n, "seed": seed, "group": group, "temperature": temperature, "max_new_tokens": max_new_tokens}
        return answer_parts("sample", run, prompts, settings | {"deterministic": deterministic}, workers, out)
    if out is not None:
        raise UserError(f"--out {out} is for --engine ray; answers of this process go to stdout: leave it out, or add > FILE")
    asked = read_prompts(prompt or [], prompts)
    check_specs(run, [rater], ("policy", "sft", "base"))
    answers = raterhf.open(run, deterministic=deterministic).sample(asked, rater, n, seed, group, temperature, max_new_tokens)
    if untrained := untrained_stages(run):
        say(f"{run}: the stage {answers[0].stage} answers, since {' and '.join(untrained)} of its recipe is not trained", err=True)
    for answer in answers:
        say(json.dumps(asdict(answer), ensure_ascii=False))


@app.command()
def score(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows of prompt, completion (JSONL, CSV, parquet).")],
    raters: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="As for sample, and new:64x; may be given several times. Else new:16x.")
    ] = None,
    group: Group = None,
    seed: Seed = 0,
    idiosyncratic: Annotated[bool, typer.Option("--idiosyncratic", help="Whole utilities: add each rater's idiosyncratic taste.")] = False,
    verdict: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="What a jury of them decides: mean, majority, borda, min, nash, quantile:Q (such as .1)."),
    ] = None,
    seats: Annotated[
        str | None, typer.Option(metavar="group=G:N,...", help="A jury by seats, N fresh raters of each group, or persona=P:N,...")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --verdict: what jurors count, rows of rater (an ID, or a seat's name), weight."),
    ] = None,
    dtype: Dtype = "float32",
    deterministic: Deterministic = False,
    engine: Engine = None,
    workers: Workers = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the CSV there instead of printing it; with --engine ray a folder, of parts.")
    ] = None,
) -> None:
    """Score completions for raters.

    Prints CSV with one row a rater; column 1 is the score of the file's row 1, and so on. With --verdict one row a completion, read
    against the others of its prompt: the verdict, its 95 % interval over juries drawn again (low, high) and how often it wins those; mean
    and spread of the raters' margins; the share whose favourite it is (preferred); and whether it is chosen, the most divisive, the safest.
    Rows that cannot be scored go with the reason into FILE.rejects.csv, and the exit code is 3. With --engine ray the rows of FILE, parquet
    or a folder of it, are scored by a pool of workers into parts, with a column for each rater; the same command does those that are
    missing.
    """
    set_environment()
    from raterhf.data.files import read_rows
    from raterhf.data.requests import read_completions, rejects_csv
    from raterhf.io import write_text
    from raterhf.raters.files import check_specs, load_pool
    from raterhf.raters.juries import judge_prompts, read_seats, read_verdict, read_weights
    from raterhf.run_folder import SCORED_BY, find_stage

    rule = read_verdict(verdict) if verdict is not None else None
    if weights is not None and rule is None:
        raise UserError(f"--weights {weights} says what jurors count, and nobody decides; give --verdict too, or leave it out")
    jury = None
    if seats is not None:
        if raters or group is not None:
            raise UserError(f"--seats {seats} says who judges, and so does {'--raters' if raters else '--group'}; leave one of them out")
        jury = read_seats(seats, load_pool(find_stage(run, SCORED_BY)), seed)
    if check_engine(engine, workers, out, {"--verdict": verdict}):
        specs = jury.specs if jury else raters or ["new:16x"]
        check_specs(run, specs, ("reward",))
        settings = {"raters": specs, "seed": seed, "group": group, "idiosyncratic": idiosyncratic, "dtype": dtype}
        return answer_parts("score", run, file, settings | {"deterministic": deterministic}, workers, out)
    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder, and the scores are one CSV; name a file, or add --engine ray")
    rejects = file.with_name(f"{file.name}.rejects.csv")
    if out and out.resolve() in (file.resolve(), rejects.resolve()):
        raise UserError(f"--out {out} is the file that is scored, or that of its rejects, and would be overwritten; give another")
    asked, raters = read_completions(file), jury.specs if jury else raters or ["new:16x"]
    check_specs(run, raters, ("reward",))
    opened = raterhf.open(run, dtype=dtype, deterministic=deterministic)
    table, unfit = opened.score_where_possible(asked.rows, raters, seed, group, idiosyncratic)
    rejected, scored, people = asked.rejects | unfit, table.shape[1], len(table)
    if rule and scored:
        kinds = jury.kinds if jury else [""] * people
        weighed = read_weights(weights, list(table.index), kinds) if weights else None
        table = judge_prompts(table, {row: str(prompt) for row, (prompt, _) in asked.rows.items()}, rule, kinds, seed, weighed)
    text = table.to_csv(lineterminator="\n", float_format="%.6g") if scored else ""
    if out is None and sys.stdout.isatty():
        say(text, nl=False)
    elif out is None:
        typer.echo(text, nl=False)  # to a file or a program, which reads the IDs as they are
    elif scored:
        write_text(out, text)
        say(f"{out}: {people} raters x {scored} completions", err=True)
    else:
        say(f"{out} is not written: no row was scored", err=True)
    if not rejected and rejects.is_file():
        rejects.unlink()
        say(f"{rejects} of an earlier run is removed: every row was scored", err=True)
    if rejected:
        write_text(rejects, rejects_csv(read_rows(file).frame, rejected))
        say(f"{len(rejected)} of {len(rejected) + scored} rows were not scored; {rejects} says why", err=True)
        raise typer.Exit(3)


@app.command()
def export(
    run: Run,
    rater: Annotated[
        Files, typer.Option("--rater", metavar="SPEC", help="As for sample, and new:16x; may be given several times. Nobody is always in.")
    ] = None,
    to: Annotated[str, typer.Option(metavar="ENGINE", help="transformers, vllm, llamacpp or peft.")] = "transformers",
    stage: Annotated[str, typer.Option(help="policy (the last stage that answers) or reward.")] = "policy",
    mean: Annotated[bool, typer.Option("--mean", help="With --stage reward: one score, the mean of the raters'.")] = False,
    group: Group = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; RUN/export/ENGINE where not given.")] = None,
    push: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Also upload it to the hub, as a private repository.")] = None,
) -> None:
    """Write a folder that other programs load without raterhf, raters included.

    A policy becomes a plain language model that takes raters by name in its chat template; a reward model becomes a classifier. Its
    README.md shows how it is used, and says who is in it. What else there is to know goes to stderr.
    """
    set_environment(models=[push] if push else [])
    from raterhf.export.push import check_name, push_folder
    from raterhf.raters.files import check_specs
    from raterhf.run_folder import untrained_stages

    if push is not None:
        check_name(push)
    check_specs(run, rater or [], ("policy", "sft", "base") if stage == "policy" else ("reward",))
    done = raterhf.open(run).export(rater or [], out, to, stage, seed, group, mean)
    if stage == "policy" and (untrained := untrained_stages(run)):
        say(f"{run}: an earlier stage is exported, since {' and '.join(untrained)} of its recipe is not trained", err=True)
    for note in done.notes:
        say(f"{done.folder}: {note}", err=True)
    say(done.folder)
    if push is not None:
        say(push_folder(done.folder, push))


for verb in (adapt, ask, audit, personas, explore):
    app.command()(verb)


@app.command()
def probe(
    models: Annotated[
        list[str],
        typer.Argument(metavar="RUN... | [NAME=]MODEL...", help="Run folders (seeds of a recipe), or models: folders or hub names."),
    ],
    probes: Annotated[str, typer.Option(metavar="all|A,B", help="Probes to run.")] = "all",
    n: Annotated[int, typer.Option("-n", min=2, max=MOST, help="Answers to each question, each from a fresh rater.")] = 1000,
    seed: Seed = 0,
    repeats: Annotated[int, typer.Option(min=0, max=MOST, help="Count false alarms over so many pairs of halves of one model.")] = 0,
    questions: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Ask these instead (as in data/probes); may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to write; RUN/probes where not given.")] = None,
) -> None:
    """Measure mode collapse: numbers, dice, templates, jokes, poems and more.

    Of several run folders, seeds of one recipe, the figures are means, from three on with the interval over them. Models are read under
    the one called base, or the first. A run is asked the questions of its simulated world, all else those of data/probes.
    Writes probes.json, plots and probes.html. What cannot be measured is named there and on stderr, and the exit code is 3.
    """
    set_environment(models=models)
    from raterhf.evaluation.probes.run import probe_models
    from raterhf.reports.probe_table import print_probes

    found, page = probe_models(models, probes, n, seed, repeats, questions or [], out)
    print_probes(found)
    say(f"done: {page}")
    holes = [f"{name}: {hole}" for name, one in found["probes"].items() for hole in one["holes"]]
    for hole in holes:
        say(f"not measured: {hole}", err=True)
    if holes:
        raise typer.Exit(3)


if __name__ == "__main__":
    app()
