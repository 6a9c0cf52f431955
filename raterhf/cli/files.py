"""`raterhf recipes` and `raterhf data`: recipes to start from, and what is in files."""

import difflib
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raterhf.cli.common import Files, Overrides, RecipePath, Seed, load_checked, make_app, say, set_environment
from raterhf.errors import UserError

if TYPE_CHECKING:
    from raterhf.recipe import Recipe

recipes_app = make_app(help="The recipes that come with raterhf: list, copy, explain keys, check.")
data_app = make_app(help="Rater-labelled data: check files, make simulated worlds.")


@recipes_app.command("ls")
def recipes_ls() -> None:
    """List the shipped recipes: name and file."""
    from raterhf.recipe_reader import shipped

    for name, path in shipped().items():
        say(f"{name}\t{os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path}")


@recipes_app.command("cp")
def recipes_cp(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `recipes ls` lists.")],
    dest: Annotated[Path | None, typer.Argument(metavar="[DEST]", help="A new file, or a folder; NAME.yaml here where not given.")] = None,
) -> None:
    """Copy a shipped recipe to start from, named after the new file. Never overwrites.

    `own` and `chat` are for your own annotators; the others are the project's own experiments.
    """
    import yaml

    from raterhf.recipe_reader import shipped

    known = shipped()
    if name not in known:
        raise UserError(f"recipe {name!r} is not shipped; there are: {', '.join(known) or 'none'}")
    target = Path(dest or ".")
    target = target / f"{name}.yaml" if target.is_dir() else target
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; make it, or choose another place")
    try:
        with open(target, "x", encoding="utf-8") as file:
            called = re.sub(r"[^A-Za-z0-9._-]+", "-", target.stem)  # what a recipe may be called
            called = called if yaml.safe_load(called) == called else f'"{called}"'  # YAML reads 1 as a number and no as false
            text = known[name].read_text("utf-8").replace(f"recipes/{name}.yaml", shlex.quote(target.as_posix()))  # its commands
            file.write(re.sub(r"(?m)^name: .*$", f"name: {called}", text, count=1))
    except FileExistsError as error:
        raise UserError(f"{target} exists and is never overwritten; give another DEST or remove it first") from error
    say(target)


@recipes_app.command("keys")
def recipes_keys(
    section: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Such as policy or policy.beta; all where not given.")] = None,
) -> None:
    """Every key of a recipe, its default and what it is."""
    from raterhf.recipe_compare import algorithms
    from raterhf.recipe_reader import field_rows, keys

    shown = [row for row in keys() if section is None or row[0] == section or row[0].startswith(f"{section}.")]
    if not shown:
        sections = list(dict.fromkeys(key.partition(".")[0] for key, _, _ in keys()))
        near = difflib.get_close_matches(section or "", [*sections, *(key for key, _, _ in keys())], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{section!r} is no key and no section; {hint}the sections are {', '.join(sections)}")
    show_keys(shown)
    if section in (None, "policy"):
        from raterhf.training.algorithms.base import options_of

        for name in algorithms():
            say(f"\nwith policy.algorithm={name}:")
            show_keys(field_rows(options_of(name), "policy.options."))


def show_keys(rows: list[tuple[str, str, str]]) -> None:
    for key, default, about in rows:
        say(f"{key} = {default}\n    {about}")


@recipes_app.command("check")
def recipes_check(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Check a recipe's keys, types and stages.

    Also says which of its data files are not there.
    """
    from raterhf.data.text_files import SUFFIXES

    resolved = load_checked(recipe, overrides)
    say(f"{recipe}: ok; stages {', '.join(resolved.stages) or 'none'}; writes into {resolved.folder}")
    for path in resolved.data.files:
        if path.endswith(SUFFIXES) and not Path(path).is_file():
            say(f"note: data file {path} is not there (paths are taken from {Path.cwd()})")


@data_app.command("check")
def data_check(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE|FILE...] [KEY=VALUE]...", help="A recipe or data files, and changes of keys.")
    ] = None,
    comparisons: Annotated[Files, typer.Option(metavar="FILE", help="prompt, chosen, rejected or a, b, label; rater_id.")] = None,
    ratings: Annotated[Files, typer.Option(metavar="FILE", help="prompt, response, rating, rater_id.")] = None,
    demonstrations: Annotated[Files, typer.Option(metavar="FILE", help="prompt, completion, rater_id.")] = None,
    raters: Annotated[Files, typer.Option(metavar="FILE", help="rater_id, persona, group, split.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say what is in rater-labelled data, and what it can teach. Reads them as training would.

    Who judged, what, how far raters agree and whether their disagreement is theirs, what gives the choice away without reading, pairs on
    both sides of a split, IDs that are not what they seem; and a verdict. What a file holds is told by its columns, or by the option it is
    given with; columns of other names are mapped as in data.columns.rater_id=annotator. With a recipe texts are also measured in tokens.
    """
    from raterhf.data.text_files import SUFFIXES

    paths, overrides = split_inputs(inputs)
    files = {"comparisons": comparisons, "ratings": ratings, "demonstrations": demonstrations, "raters": raters}
    given = {kind: list(found) for kind, found in files.items() if found}
    recipes = [path for path in paths if Path(path).suffix.lower() in (".yaml", ".yml")]
    if not paths and not given or recipes and (len(paths) > 1 or given):
        raise UserError(
            f"data check takes one recipe, or data files ({', '.join(SUFFIXES)}, a datasets folder or name): give one of the two"
        )
    if recipes:
        resolved = load_checked(Path(recipes[0]), overrides)
        set_environment(resolved)
        from raterhf.data.labels import check_recipe

        check_recipe(resolved)  # what is wrong is said before torch is imported
        from raterhf.api import check_data

        name, figures = resolved.name, check_data(resolved, show=False)
    else:
        name, figures = _check_files(paths, given, overrides)
    if as_json:
        say(json.dumps(figures, ensure_ascii=False, indent=1))
    else:
        from raterhf.data.show import print_figures

        print_figures(figures)
    if html:
        from raterhf.reports.data_page import write_data_page

        written = write_data_page(figures, name, html)
        if not as_json:
            say(written)


def split_inputs(inputs: list[str] | None) -> tuple[list[str], list[str]]:
    """Paths, and changes of keys (KEY=VALUE)."""
    paths: list[str] = []
    overrides: list[str] = []
    for word in inputs or []:
        (overrides if "=" in word and not Path(word).exists() else paths).append(word)
    return paths, overrides


def _check_files(paths: list[str], given: dict[str, list[str]], overrides: list[str]) -> tuple[str, dict]:
    """Names and figures of files of no recipe."""
    from raterhf.data.labels import labels_of

    name, resolved = recipe_of_files(paths, given, overrides)
    labels = labels_of(resolved)
    from raterhf.data.show import inspect_recipe  # what is wrong with the files is said before a second of imports

    return name, inspect_recipe(resolved, labels)


def recipe_of_files(paths: list[str], given: dict[str, list[str]], overrides: list[str]) -> tuple[str, "Recipe"]:
    """Names of files and the recipe of no stage that reads them: those of `paths` hold what their columns say, those `given` by kind what
    the user says."""
    from raterhf.data.inspection.kinds import kind_of
    from raterhf.recipe_reader import make_recipe

    raw: dict = {"name": "data", "data": {}}
    source = f"of {', '.join([*paths, *(path for found in given.values() for path in found)])}"
    settings = make_recipe(raw, source, overrides)
    set_environment(settings, files=[*paths, *(path for found in given.values() for path in found)])
    for path in paths:
        given.setdefault(kind_of(path, settings.data), []).append(path)
    if len(given.get("raters", [])) > 1:
        raise UserError(f"{', '.join(given['raters'])}: there is one raters file; put the rows of the others into it")
    raw["data"] |= {kind: found[0] if kind == "raters" else found for kind, found in given.items()}
    resolved = make_recipe(raw, source)
    return ", ".join(Path(path).name for path in resolved.data.files), resolved


def audited(inputs: list[str], given: dict[str, list[str]]) -> tuple[str, "Recipe", Path | None]:
    """What `raterhf audit` reads: its name, the recipe of its data, and the run folder where that is one.

    A run's data are those of the recipe that it was trained by.
    """
    from raterhf.recipe_reader import load_recipe

    paths, overrides = split_inputs(inputs)
    folders = [path for path in paths if Path(path).is_dir() and not (Path(path) / "dataset_info.json").is_file()]
    recipes = [path for path in paths if Path(path).suffix.lower() in (".yaml", ".yml")]
    if (alone := folders or recipes) and (len(paths) > 1 or given):
        raise UserError(f"audit takes one run, one recipe, or data files, and {alone[0]} stands beside others: give one of them alone")
    if folders:
        from raterhf.run_folder import SAMPLED_FROM, SCORED_BY, find_stage

        run, stages = Path(folders[0]), (*SCORED_BY, *SAMPLED_FROM)
        find_stage(run, stages)
        written = [folder / "recipe.resolved.yaml" for folder in (run, *(run / stage for stage in stages))]
        if not (resolved := next((path for path in written if path.is_file()), None)):
            raise UserError(f"{run} does not say what data it was trained on; give the data files instead")
        set_environment()
        return str(run), load_recipe(resolved, overrides), run
    if recipes:
        found = load_checked(Path(recipes[0]), overrides)
        set_environment(found)
        return found.name, found, None
    return *recipe_of_files(paths, given, overrides), None


@data_app.command("convert")
def data_convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of the export.")],
    tool: Annotated[str, typer.Option("--from", metavar="TOOL", help="Whose export it is.")],
    out: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="Where to: .parquet or .jsonl.")],
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="comparisons or ratings, where the export holds both.")] = None,
    columns: Annotated[Files, typer.Option("--column", metavar="OURS=NAME", help="Which text or column is ours; repeatable.")] = None,
    annotators: Annotated[str | None, typer.Option(metavar="A,B", help="Columns that are annotators (wide).")] = None,
    attributes: Annotated[bool, typer.Option("--attributes", help="Keep labels of single attributes too (multipref).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
) -> None:
    """Turn an annotation tool's export into a file that every verb reads.

    Tools: label-studio, argilla, prodigy, doccano, arena, prism, helpsteer3, multipref, alpaca-farm, wide. Says what was left out and why.
    """
    from raterhf.data.convert import convert_files

    mapped = dict(name.split("=", 1) for name in columns or [] if "=" in name)
    if len(mapped) < len(columns or []):
        raise UserError(f"--column {' '.join(columns or [])}: each is OURS=NAME, such as prompt=question, and names another of ours")
    if out.exists() and not force:
        raise UserError(f"{out} exists and would be overwritten; name another file, or say --force")
    people = tuple(name.strip() for name in annotators.split(",")) if annotators else ()
    set_environment(files=[str(path) for path in files])
    for line in convert_files([str(path) for path in files], tool, out, kind, mapped, people, attributes):
        typer.echo(line)


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
    from raterhf.worlds.make import make_world

    say(make_world(world, seed, out or Path("data") / world, force))
