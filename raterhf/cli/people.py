"""Verbs about the people behind the labels: know a new one (`adapt`, `ask`), and see who disagrees and what kinds there are (`audit`,
`personas`)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import raterhf
from raterhf.cli.common import Files, Run, Seed, numbers_of, say, set_environment
from raterhf.cli.files import audited
from raterhf.errors import UserError


def adapt(
    run: Run,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Comparisons, ratings or (of a run on answers alone) answers, columns as in its data.")
    ],
    rater_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Whose they are; the column rater_id's where not given.")
    ] = None,
    group: Annotated[str | None, typer.Option(metavar="G", help="The group that they belong to.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Add labels of people who were fitted before.")] = False,
) -> None:
    """Make people who come after training known raters, by their labels.

    The weights stay: `--rater ID` then samples and scores. Prints a JSON line a person: rater, labels (comparisons, pairs of
    ratings among them, or answers), nats (a label, of the labels under the population: the nearer to 0, the less of an exception) and
    unknown (the share of the population's variance that the labels leave).
    """
    set_environment()
    opened = raterhf.open(run)
    prior = opened.raters.prior(group).covariance().trace() if opened.raters.dim else 1.0
    found = opened.fit_rater(file, rater_id, group, update)
    folders = opened.add_raters(found, group)
    for one in found:
        nats = one.log_evidence / max(1, one.labels)
        line = {"rater": one.id, "labels": one.labels, "nats": round(nats, 4), "unknown": round(float(one.covariance.trace() / prior), 4)}
        say(json.dumps(line, ensure_ascii=False))
    say(f"known now in: {', '.join(map(str, folders))}", err=True)


def ask(
    run: Run,
    rater_id: Annotated[str, typer.Option("--id", metavar="ID", help="Whom to ask: somebody new, or known by `adapt`.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Completions to choose pairs from, rows of prompt, completion; else the run's own comparisons."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="What they said since, as for adapt; those pairs are not asked again.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="Pairs, each told beside those before it.")] = 1,
    group: Annotated[str | None, typer.Option(metavar="G", help="The group that somebody new belongs to.")] = None,
    seed: Seed = 0,
) -> None:
    """Propose the pairs whose labels would tell most of a person's taste.

    Prints JSON lines: prompt, a, b, information (nats that the label is expected to tell). Add a label (1: a, -1: b, 0: a tie) to each, and
    `raterhf adapt` learns from them.
    """
    set_environment()
    from raterhf.data.requests import read_completions

    completions = None
    if file is not None:
        asked = read_completions(file)
        if asked.rejects:
            row, why = next(iter(asked.rejects.items()))
            raise UserError(f"{file}, row {row}: {why}; {len(asked.rejects)} such rows: correct or remove them")
        completions = list(asked.rows.values())
    for question in raterhf.open(run).ask(rater_id, completions, labels, n, group, seed):
        say(json.dumps(asdict(question), ensure_ascii=False))


def audit(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="RUN|RECIPE|FILE... [KEY=VALUE]...", help="A run folder, a recipe or data files; changes of keys."),
    ],
    comparisons: Annotated[Files, typer.Option(metavar="FILE", help="prompt, chosen, rejected or a, b, label; rater_id.")] = None,
    ratings: Annotated[Files, typer.Option(metavar="FILE", help="prompt, response, rating, rater_id.")] = None,
    demonstrations: Annotated[Files, typer.Option(metavar="FILE", help="prompt, completion, rater_id.")] = None,
    values: Annotated[Files, typer.Option("--value", metavar="WORD=NUMBER", help="What a word among the ratings stands for.")] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to write; RUN/audit or audit/NAME where not given.")] = None,
) -> None:
    """Who disagrees with whom and on what, and how much of it is taste, carelessness, habit or chance.

    Reads files as `data check` does, columns mapped as in data.columns.rater_id=annotator. Of a run its data, and what its reward model
    makes of the raters: how often another rater turns a preference round, and how many dimensions are active. Writes audit.json, plots and
    audit.html, with a map of raters and the things that split people. What cannot be told is said in a sentence.
    """
    numbers, given = numbers_of(values), {"comparisons": comparisons, "ratings": ratings, "demonstrations": demonstrations}
    name, resolved, run = audited(inputs, {kind: list(found) for kind, found in given.items() if found})
    from raterhf.evaluation.audit.audit import audit as audit_data
    from raterhf.reports.audit_page import print_audit, write_audit

    found = audit_data(resolved, name, numbers, run, seed)
    page = write_audit(found, out or (run / "audit" if run else Path("audit") / Path(name.partition(", ")[0]).stem))
    print_audit(found)
    say(f"done: {page}")


def personas(
    run: Run,
    clusters: Annotated[
        int | None, typer.Option(min=2, max=100, help="So many; else the number with the best silhouette, up to 8.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Not clusters but raters put together by this column of the run's data files.")
    ] = None,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="With --by: a file of raters and what is said of them, in place of the data.")
    ] = None,
    describe: Annotated[
        str | None, typer.Option(metavar="FILE", help="With --by: personas by name and description, whom --by says nothing of.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(metavar="FOLDER", help="With --describe: a sentence encoder, beside letters.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Make them personas of the run: --rater persona:kind-1 then samples and scores.")
    ] = False,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the figures there as JSON, members included.")
    ] = None,
) -> None:
    """Find kinds of known raters by what they like: clusters of their scores of the texts of the run's data; or tell what those like whom a
    column puts together (`--by country`); or people who are described (`--by about --describe FILE`), by what the column says of known
    raters and what these like.

    Says of each what it likes better and worse than the others do, how contested its favourites are among the others, and how reliable it
    is: how often its mean score is right about its members' comparisons. Names the least contested and the most reliable one.
    """
    set_environment(models=[encoder] if encoder else [])
    from raterhf.evaluation.described import describe_personas, save_described
    from raterhf.evaluation.personas import find_personas, members_by, save_personas
    from raterhf.io import write_text
    from raterhf.reports.persona_table import print_described, print_personas

    _, recipe, _ = audited([str(run)], {})
    if by and clusters:
        raise UserError(f"--by {by} puts raters together, and --clusters {clusters} finds who hangs together; give one of them")
    if file and not by:
        raise UserError(f"--file {file}: which column puts raters together? name it with --by")
    if describe and not by:
        raise UserError(f"--describe {describe}: which column says what known raters are like? name it with --by")
    if encoder and not describe:
        raise UserError(f"--encoder {encoder} reads descriptions; name their file with --describe, or leave it out")
    opened, files, rater_column = raterhf.open(run), [file] if file else recipe.data.files, recipe.data.columns.get("rater_id", "rater_id")
    described = None
    if by and describe:
        found, described = describe_personas(opened, describe, by, files, rater_column, encoder, seed)
    else:
        named = members_by(by, opened.raters.known, files, rater_column) if by else None
        found = find_personas(opened, recipe, clusters, seed, named)
    if save:
        folders = save_described(run, found, described) if described else save_personas(run, found, seed)
    if out:
        write_text(out, json.dumps(found, ensure_ascii=False, indent=1))
    if described:
        print_described(found)
    else:
        print_personas(found)
    if save:
        say(f"personas now of: {', '.join(map(str, folders))}", err=True)
