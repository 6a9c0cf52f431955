"""`raterhf score` and `raterhf sample` of files larger than memory: `--engine ray`, into a folder."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from raterhf.cli.common import MOST, say
from raterhf.errors import UserError

Engine = Annotated[
    str | None, typer.Option("--engine", metavar="ray", help="Let a pool of workers do a parquet file part by part; this process else.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=MOST, help="With --engine ray: how many; one for each GPU, or each core, where not given.")
]


def check_engine(engine: str | None, workers: int | None, out: Path | None, refused: dict[str, object]) -> bool:
    """Whether Ray is asked for. Raises UserError for another engine, where Ray is not installed, for options that need one of the two, and
    for those in `refused`, by name, which the workers cannot do."""
    if engine is None:
        if workers is not None:
            raise UserError(f"--workers {workers} are Ray's; add --engine ray, or leave it out")
        return False
    if engine != "ray":
        raise UserError(f"--engine {engine!r} is unknown; ray is the one there is, and without the option this process does it all")
    check_ray()
    if given := [name for name, value in refused.items() if value]:
        raise UserError(f"{given[0]} does not go with --engine ray, {REFUSED[given[0]]}; leave one of them out")
    if out is None:
        raise UserError("--engine ray writes parts into a folder; name it with --out FOLDER")
    return True


def check_ray() -> None:
    if find_spec("ray") is None:
        raise UserError("workers are Ray Data's, which is not installed: pip install 'raterhf[ray]'")


REFUSED = {
    "--verdict": "whose workers read a completion without the others of its prompt",
    "--prompt": "which reads prompts from a file (--prompts)",
}


def answer_parts(verb: str, run: Path, file: Path, settings: dict, workers: int | None, out: Path) -> None:
    """Do a file by Ray and say what came of it. Raises typer.Exit, code 3, where rows were rejected."""
    from raterhf.parts.pool import answer_file
    from raterhf.parts.work import Asked

    if out.is_file():
        raise UserError(f"--out {out} is a file, and --engine ray writes a folder of parts; name a folder")
    try:
        found = answer_file(Asked(verb, str(run.resolve()), settings), file, out, workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Run the same command again: it does what is left.") from None
    say(f"{out}: {found.parts} parts of {found.rows} rows", err=True)
    if found.rejected:
        say(f"{found.rejected} of {found.rows} rows were rejected; {out}/*.rejects.csv say why", err=True)
        raise typer.Exit(3)
