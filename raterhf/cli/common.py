"""What the verbs have in common: arguments, and the environment that the libraries find. Nothing heavy is imported at the top."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raterhf.errors import UserError
from raterhf.terminal import plain, printable

if TYPE_CHECKING:
    from raterhf.recipe import Recipe

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe and stop; of train also memory and an example as it is read.")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes of the recipe, such as policy.beta=0.1.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (runs/NAME) or one stage's folder in it.")]
Group = Annotated[str | None, typer.Option(metavar="G", help="Only raters of this group.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all that is drawn.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is faster here.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="Compute each row alone: slower, the same bits in any company.")]
Files = list[str] | None
MOST = 10**6  # of anything that is asked for by number


def say(text: object, nl: bool = True, err: bool = False) -> None:
    """Text to the terminal, or to what stands in its place; what the terminal would obey is shown as text."""
    typer.echo(printable(str(text)), nl=nl, err=err, color=colour())


def colour() -> bool | None:
    """As typer takes it: False is without, None where the stream is a terminal."""
    return False if plain() else None


def make_app(**settings) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)


def set_environment(recipe: "Recipe | None" = None, models: Sequence[str] = (), files: Sequence[str] = ()) -> None:
    """Quiet progress bars and warnings of the Hugging Face libraries, and no network unless the recipe, `models` or data `files` name
    something on the hub.

    Threads that wait sleep: where another run uses the same cores, threads that wait busily make both many times slower. Before the
    libraries are imported, since they read these variables then. What the user has set stays.
    """
    from raterhf.io import on_hub, split_name

    wanted = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    wanted |= {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "passive"}
    if not (recipe and names_hub(recipe)) and not any(map(is_no_file, files)) and not any(on_hub(split_name(model)[1]) for model in models):
        wanted |= {"HF_HUB_OFFLINE": "1"}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def load_checked(path: Path, overrides: list[str] | None) -> "Recipe":
    """A recipe, checked as far as it can be without its data: the algorithm's own options too, whose file is imported where it has any."""
    from raterhf.recipe_reader import load_recipe

    resolved = load_recipe(path, overrides or [])
    if resolved.policy and resolved.policy.options:
        set_environment(resolved)
        from raterhf.training.algorithms.base import load_algorithm

        load_algorithm(resolved.policy)
    return resolved


def assigned(text: str) -> tuple[str, str]:
    """NAME=VALUE, taken apart."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"{text!r} is no NAME=VALUE; write such as item=joke_id")
    return name, value


def numbers_of(values: list[str] | None) -> dict[str, float]:
    """What words stand for, of --value WORD=NUMBER."""
    try:
        return {word: float(number) for word, number in map(assigned, values or [])}
    except ValueError as error:
        raise UserError(f"--value: {error}; give WORD=NUMBER, such as JOY=1") from error


def names_hub(recipe: "Recipe") -> bool:
    models = (recipe.model.path, recipe.compare.encoder)
    return any(map(is_no_file, recipe.data.files)) or any(model and not Path(model).exists() for model in models)


def is_no_file(path: str) -> bool:
    """Whether a data file can only be a name on the hub."""
    from raterhf.data.text_files import SUFFIXES

    return not path.endswith(SUFFIXES) and not Path(path).exists()
