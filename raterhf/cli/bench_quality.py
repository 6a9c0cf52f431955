"""Verbs of `raterhf bench` that time nothing: how well people are told, what a run still reads, how often an alarm is false."""

from pathlib import Path
from typing import Annotated

import typer

from raterhf.cli.bench import Out, bench_app, write_figures
from raterhf.cli.common import MOST, Files, Overrides, RecipePath, Seed, assigned, numbers_of, set_environment
from raterhf.errors import UserError


@bench_app.command("perplexity")
def bench_perplexity(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (runs/NAME) with a stage sft.")],
    files: Annotated[list[Path], typer.Argument(metavar="TEXT...", help="Files of plain text that the run was not trained on.")],
    tokens: Annotated[int, typer.Option(min=2, max=MOST, help="Tokens of a window.")] = 128,
    most: Annotated[int, typer.Option(min=2, max=MOST, help="Windows at most.")] = 200,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Measure how well a run's models still read text that nobody rated: perplexity, beside the model that training began with."""
    set_environment()
    from raterhf.bench import perplexity
    from raterhf.bench.table import print_perplexity

    found = perplexity.bench_perplexity(run, files, tokens, most, seed)
    print_perplexity(found)
    if out:
        write_figures(out, found)


@bench_app.command("alarm")
def bench_alarm(
    samples: Annotated[
        int | None, typer.Option(min=16, max=MOST, help="Answers to a prompt at a look; as in a recipe where not given.")
    ] = None,
    prompts: Annotated[int | None, typer.Option(min=1, max=MOST, help="Prompts watched; as in a recipe where not given.")] = None,
    level: Annotated[float | None, typer.Option(min=0.01, max=1, help="As monitor.level; as in a recipe where not given.")] = None,
    looks: Annotated[int, typer.Option(min=1, max=MOST, help="Looks after the first.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, max=MOST, help="Simulated stages.")] = 1000,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Count how often the alarm of mode collapse fires: at the level, where it is false, and below it.

    Also between random halves of one sample. Distributions of answers are simulated; nothing is trained.
    """
    from raterhf.bench import alarm
    from raterhf.recipe import MonitorSettings

    given = {"samples": samples, "prompts": prompts, "level": level}
    found = alarm.bench_alarm(MonitorSettings(**{key: value for key, value in given.items() if value is not None}), looks, repeats, seed)
    alarm.print_alarms(found)
    if out:
        write_figures(out, found)


@bench_app.command("raters")
def bench_raters(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file of ratings, or of comparisons, with a column `split`; or a world.")],
    columns: Annotated[
        Files,
        typer.Option(
            "--column",
            metavar="OURS=THEIRS",
            help="A column of ours (rater_id, split; item, rating; a, b, label; chosen, rejected), by its name there.",
        ),
    ] = None,
    values: Annotated[Files, typer.Option("--value", metavar="WORD=NUMBER", help="What a word among the ratings stands for.")] = None,
    within: Annotated[str | None, typer.Option(metavar="COLUMN", help="Compare only ratings that are alike in this column.")] = None,
    margin: Annotated[list[float] | None, typer.Option(min=0, help="Only test ratings further apart than this; also several.")] = None,
    with_new_items: Annotated[
        bool, typer.Option("--new-items", help="Ask unseen people also of items without a train rating, which no anchor can tell apart.")
    ] = False,
    pairs: Annotated[
        str | None, typer.Option(metavar="FILE", help="Tell apart the pairs of this file (rater_id, chosen, rejected, split) alone.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Tell apart items in five folds that nobody rated, by this column's text.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(metavar="FOLDER", help="With --text: a sentence encoder, beside style.")] = None,
    with_people: Annotated[
        bool, typer.Option("--people", help="Check instead whether fictitious people are like those whom no fit has seen.")
    ] = False,
    with_search: Annotated[
        bool, typer.Option("--search", help="Instead fit a grid of other settings, and say how far the default is from the best.")
    ] = False,
    only: Annotated[
        Files, typer.Option("--model", metavar="NAME", help="Fit only this model, as the table names it, beside nobody; also several.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=MOST, help="Seeds, from --seed on.")] = 1,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Tell apart people's held-back ratings: by nobody, by factors, by raters as unknowns; known people, and new ones after some labels.

    Beside these stand rivals (a head for each rater, what PAL, VPL and LoRe do, and IDs read as text) and controls (IDs shuffled or random,
    an ensemble over resampled raters). Of comparisons the models are a ladder: habits, care, taste. DATA may be the name of a simulated
    world (dice), whose exact rate is known. With --people a fictitious twin of each unseen person is drawn, and the two crowds are
    compared: how often they agree with most, how that differs, odd ones, rare tastes. Trains no language model: the anchors that a model of
    raters must reach. Splits are train, test, unseen_support and unseen_query.
    """
    set_environment(models=[encoder] if encoder else [])
    from raterhf.bench import comparisons, exact, new_items, people, raters, search
    from raterhf.worlds.make import worlds

    named = {name: theirs for name, theirs in map(assigned, columns or [])}
    ours = ("rater_id", "item", "rating", "split", "chosen", "rejected", "a", "b", "label", "a_text", "b_text")
    if strangers := sorted(named.keys() - set(ours)):
        raise UserError(f"--column {strangers[0]}=...: there is no such column of ours; there are {', '.join(ours)}")
    numbers = numbers_of(values)
    if encoder and not text:
        raise UserError(f"--encoder {encoder} reads texts; name their column with --text, or leave it out")
    given = {
        "--column": columns, "--value": values, "--within": within, "--margin": margin, "--pairs": pairs, "--new-items": with_new_items,
        "--seeds": seeds > 1, "--margin twice": len(margin or []) > 1, "--people": with_people, "--search": with_search, "--text": text,
        "--model": only,
    }  # fmt: skip

    def refuse(names: str, why: str) -> None:
        if there := [name for name in names.split(", ") if given[name]]:
            raise UserError(f"{why.format(there[0])}; leave it out")

    ratings_only = "--value, --within, --margin, --pairs"
    if data in worlds() and not Path(data).exists():
        refuse(
            f"--people, --search, --text, --column, --new-items, {ratings_only}",
            f"{data} is a simulated world and no file, and {{}} does not go with it",
        )
        found, show = exact.bench_world(data, seeds, seed, only or []), exact.print_world
    elif with_people:
        refuse(
            "--search, --text, --pairs, --margin, --new-items, --seeds, --model",
            "--people compares crowds and tells no pairs apart, and {} does not go with it",
        )
        found, show = people.bench_people(data, named, numbers, within, seed), people.print_people
    elif text:
        refuse(
            "--search, --within, --pairs, --new-items, --seeds, --margin twice, --model",
            "--text tells apart items in folds, and {} does not go with it",
        )
        found, show = new_items.bench_new_items(data, named, numbers, text, encoder, (margin or [0.0])[0], seed), raters.print_raters
    else:
        if compared := comparisons.holds_comparisons(data, named):
            refuse(ratings_only, f"{data} holds comparisons, and {{}} speaks of ratings")
        if with_search:
            refuse("--new-items, --seeds, --margin twice, --model", "--search compares settings by one table, and {} does not go with it")
            found, show = search.search(data, named, numbers, within, (margin or [0.0])[0], pairs, seed), search.print_search
        elif compared:
            found, show = comparisons.bench_comparisons(data, named, with_new_items, seeds, seed, only or []), raters.print_raters
        else:
            found = raters.bench_raters(data, named, numbers, within, margin or [0.0], with_new_items, seeds, seed, pairs, only or [])
            show = raters.print_raters
    show(found)
    if out:
        write_figures(out, found)


@bench_app.command("authors")
def bench_authors(recipe: RecipePath, overrides: Overrides = None, out: Out = None) -> None:
    """Tell, from one answer of an unseen person, which of two others is theirs: by letters, meaning, classifiers, and raters as unknowns.

    The recipe is one of answers alone. Trains no language model: what fictitious people can reach, and what knows raters.
    """
    from raterhf.recipe_reader import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    set_environment(resolved)
    if not resolved.data.demonstrations:
        raise UserError(f"{recipe}: authors are told by their own answers, and there are none; give data.demonstrations")
    from raterhf.bench import authors

    found = authors.bench_authors(resolved)
    authors.print_authors(found)
    if out:
        write_figures(out, found)
