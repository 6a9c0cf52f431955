"""The command line: `raterhf VERB`. Each verb reads its arguments, calls one function, and prints.

A user's mistake (UserError) is one message on stderr and exit code 2; an interrupt is exit code 130. Everything heavy is imported inside
the verbs, so that help answers at once.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

import raterhf
from raterhf.errors import UserError

if TYPE_CHECKING:
    from raterhf.recipe import Recipe

RESUMABLE = ("train", "compare")


class Verbs(TyperGroup):
    """Runs a verb; turns mistakes and interrupts into messages and exit codes."""

    def invoke(self, ctx: typer.Context) -> object:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that has gone shows here, not while Python shuts down
            return result
        except UserError as error:
            typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            again = "Run the same command again: it resumes." if ctx.invoked_subcommand in RESUMABLE else "Nothing was written."
            typer.echo(f"\nInterrupted. {again}", err=True)
            raise typer.Exit(130) from None


def _app(**settings) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)


app = _app(cls=Verbs, help="Preference training that keeps the raters apart.", add_completion=False)
recipes_app = _app(help="The recipes that come with raterhf: list, copy, check.")
data_app = _app(help="Rater-labelled data: check files, make simulated worlds.")
app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")
bench_app = _app(help="How fast this machine scores and trains, rung by rung.")
app.add_typer(bench_app, name="bench")

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes of the recipe, such as policy.beta=0.1.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (runs/NAME) or one stage's folder in it.")]
Group = Annotated[str | None, typer.Option(metavar="G", help="Only raters of this group.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")]
Files = list[str] | None


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(raterhf.__version__)
        raise typer.Exit


def _hush(recipe: "Recipe | None" = None) -> None:
    """Quiet progress bars and warnings of the Hugging Face libraries, and no network unless the recipe names something on the hub.

    Before they are imported, since they read these variables then. What the user has set stays.
    """
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_TELEMETRY": "1"}
    quiet |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if recipe is None or not _names_hub(recipe):
        quiet |= {"HF_HUB_OFFLINE": "1"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def _names_hub(recipe: "Recipe") -> bool:
    from raterhf.data.files import SUFFIXES

    paths = [path for path in _data_files(recipe) if not path.endswith(SUFFIXES)]
    return any(not Path(path).exists() for path in [*paths, *filter(None, [recipe.model.path])])


def _data_files(recipe: "Recipe") -> list[str]:
    data = recipe.data
    listed = (data.comparisons, data.ratings, data.demonstrations, data.raters, data.base)
    return [path for files in listed for path in ([files] if isinstance(files, str) else files or [])]


@app.command()
def train(
    recipe: RecipePath,
    overrides: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Run a recipe's stages in order into runs/NAME/STAGE.

    Finished stages are skipped, an interrupted one resumes.
    """
    from raterhf.recipe import dump_recipe, load_recipe

    resolved = load_recipe(recipe, overrides or [])
    if dry_run:
        typer.echo(dump_recipe(resolved), nl=False)
        return
    _hush(resolved)
    from raterhf.training import stages

    stages.train(resolved)
    typer.echo(f'done: {resolved.folder}\nnext: raterhf sample {resolved.folder} --prompt "..." --rater new -n 10')


@app.command()
def compare(
    recipe: RecipePath,
    overrides: Overrides = None,
    controls: Annotated[str | None, typer.Option(metavar="all|A,B", help="Policies to judge; the recipe's where not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds to train and judge: the recipe's and those after it.")] = 1,
    dry_run: DryRun = False,
) -> None:
    """Train what is missing and judge it against vanilla.

    Writes metrics.json, plots and report.html into runs/NAME/compare.
    """
    from raterhf.recipe import dump_recipe, load_recipe

    resolved = load_recipe(recipe, overrides or [])
    if dry_run:
        typer.echo(dump_recipe(resolved), nl=False)
        return
    _hush(resolved)
    from raterhf.compare import run

    named = [name.strip() for name in controls.split(",")] if controls else None
    typer.echo(f"done: {run.compare(resolved, named, seeds)}")


@app.command()
def sample(
    run: Run,
    prompt: Annotated[Files, typer.Option("--prompt", metavar="TEXT", help="A prompt; may be given several times.")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with a column `prompt` (JSONL, CSV, parquet).")] = None,
    rater: Annotated[str, typer.Option(metavar="SPEC", help="new, new:7, an ID, persona:NAME, all, or none.")] = "new",
    group: Group = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Fresh raters for each prompt, or samples of each named rater.")] = 1,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy. Diversity comes from raters: leave it at 1.")] = 1.0,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest completion; the recipe's where not given.")] = None,
) -> None:
    """Answer prompts as a rater would.

    Prints JSON lines: prompt, completion, rater, log_prob (nats), finished. With `new`, n fictitious raters answer, each of them every
    prompt.
    """
    _hush()
    from raterhf.inference import requests

    asked = requests.read_prompts(prompt or [], prompts)
    for row in requests.sample(run, asked, rater, n, seed, group, temperature, max_new_tokens):
        typer.echo(json.dumps(row, ensure_ascii=False))


@app.command()
def score(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows of prompt, completion (JSONL, CSV, parquet).")],
    raters: Annotated[list[str], typer.Option(metavar="SPEC", help="As for sample, and new:64x; may be given several times.")],
    group: Group = None,
    seed: Seed = 0,
    own_noise: Annotated[bool, typer.Option("--own-noise", help="Whole utilities: add each rater's own persistent noise.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the CSV there instead of printing it.")] = None,
) -> None:
    """Score completions for raters.

    Prints CSV with one row a rater; column 1 is the score of the file's row 1, and so on. Rows that cannot be scored go with the reason
    into FILE.rejects.csv, and the exit code is 3.
    """
    _hush()
    from raterhf.inference import requests
    from raterhf.models.checkpoint import write_text

    asked = requests.read_completions(file)
    ids, scores = requests.score(run, asked, raters, seed, group, own_noise)
    table = requests.matrix_csv(ids, list(asked.rows), scores)
    if out is None:
        typer.echo(table, nl=False)
    else:
        write_text(out, table)
        typer.echo(f"{out}: {scores.shape[0]} raters x {scores.shape[1]} completions", err=True)
    if asked.rejects:
        rejects = file.with_name(f"{file.name}.rejects.csv")
        write_text(rejects, requests.rejects_csv(file, asked.rejects))
        typer.echo(f"{len(asked.rejects)} of {len(asked.rejects) + len(asked.rows)} rows were not scored; {rejects} says why", err=True)
        raise typer.Exit(3)


@recipes_app.command("ls")
def recipes_ls() -> None:
    """List the shipped recipes: name and file."""
    from raterhf.recipe import shipped

    for name, path in shipped().items():
        typer.echo(f"{name}\t{os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path}")


@recipes_app.command("cp")
def recipes_cp(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `recipes ls` lists.")],
    dest: Annotated[Path | None, typer.Argument(metavar="[DEST]", help="A new file, or a folder; NAME.yaml here where not given.")] = None,
) -> None:
    """Copy a shipped recipe to start from. Never overwrites."""
    from raterhf.recipe import shipped

    known = shipped()
    if name not in known:
        raise UserError(f"recipe {name!r} is not shipped; there are: {', '.join(known) or 'none'}")
    target = Path(dest or ".")
    target = target / f"{name}.yaml" if target.is_dir() else target
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; make it, or choose another place")
    try:
        with open(target, "x", encoding="utf-8") as file:
            file.write(known[name].read_text("utf-8"))
    except FileExistsError:
        raise UserError(f"{target} exists and is never overwritten; give another DEST or remove it first") from None
    typer.echo(target)


@recipes_app.command("check")
def recipes_check(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Check a recipe's keys, types and stages.

    Also says which of its data files are not there.
    """
    from raterhf.data.files import SUFFIXES
    from raterhf.recipe import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    typer.echo(f"{recipe}: ok; stages {', '.join(resolved.stages) or 'none'}; writes into {resolved.folder}")
    for path in _data_files(resolved):
        if path.endswith(SUFFIXES) and not Path(path).is_file():
            typer.echo(f"note: data file {path} is not there (paths are taken from {Path.cwd()})")


@data_app.command("check")
def data_check(
    recipe: Annotated[Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe, whose data are checked.")] = None,
    overrides: Overrides = None,
    comparisons: Annotated[Files, typer.Option(metavar="FILE", help="prompt, chosen, rejected or a, b, label; rater_id.")] = None,
    ratings: Annotated[Files, typer.Option(metavar="FILE", help="prompt, response, rating, rater_id.")] = None,
    demonstrations: Annotated[Files, typer.Option(metavar="FILE", help="prompt, completion, rater_id.")] = None,
    raters: Annotated[Files, typer.Option(metavar="FILE", help="rater_id, persona, group, split.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Read rater-labelled data as training would, and describe it.

    Name a recipe, or files by kind.
    """
    files = {"comparisons": comparisons, "ratings": ratings, "demonstrations": demonstrations, "raters": raters}
    given = [name for name, paths in files.items() if paths]
    if (recipe is None) == (not given):
        raise UserError("data check takes a recipe, or files by kind (--comparisons FILE --ratings FILE ...): give one of the two")
    from raterhf.data.files import SUFFIXES
    from raterhf.data.show import describe_files, describe_recipe, print_figures

    if recipe is None:
        figures = describe_files(files)
    else:
        from raterhf.recipe import load_recipe

        if recipe.suffix.lower() in SUFFIXES:
            raise UserError(f"{recipe} is a data file; say what it holds, as in --comparisons {recipe}")
        resolved = load_recipe(recipe, overrides or [])
        _hush(resolved)
        figures = describe_recipe(resolved)
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False, indent=1))
    else:
        print_figures(figures)


@data_app.command("make")
def data_make(
    world: Annotated[str, typer.Argument(metavar="WORLD", help="A simulated world, such as dice.")],
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; data/WORLD where not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
) -> None:
    """Simulate raters whose true distribution is known.

    Writes what they said; the same seed gives the same bytes.
    """
    from raterhf.data.make import make_world

    typer.echo(make_world(world, seed, out or Path("data") / world, force))


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
    _hush()
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


if __name__ == "__main__":
    app()
