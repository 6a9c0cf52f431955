"""`raterhf raters`: who is in a run, and removing somebody from it."""

import json
from typing import Annotated

import typer

import raterhf
from raterhf.cli.common import Run, make_app, say, set_environment

raters_app = make_app(help="The known raters of a run: list them, remove one.")


@raters_app.command("list")
def raters_list(run: Run) -> None:
    """List the known raters of a run, a JSON line each: rater, group, personas."""
    set_environment()
    pool = raterhf.open(run).raters
    for rater_id in pool.known:
        personas = [name for name, members in pool.personas.items() if rater_id in members]
        say(json.dumps({"rater": rater_id, "group": pool.groups.get(rater_id), "personas": personas}, ensure_ascii=False))


@raters_app.command("drop")
def raters_drop(run: Run, ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Raters that `raters list` lists.")]) -> None:
    """Remove raters from a run folder: vectors, IDs, and what names them.

    Prints what was removed and what could not be: weights that were trained with their labels, and your data files. Training in this folder
    refuses data with their labels from then on; without them every stage is trained again.
    """
    set_environment()
    done = raterhf.drop_raters(run, ids)
    for line in done.removed:
        say(f"removed: {line}")
    for line in done.left:
        say(f"not removed: {line}")
