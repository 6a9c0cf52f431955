"""`raterhf explore`: a page to walk through the raters of a run."""

from pathlib import Path
from typing import Annotated

import typer

from raterhf.cli.common import Files, Run, say, set_environment
from raterhf.errors import UserError


def explore(
    run: Run,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 is any that is free.")] = 8765,
    static: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write one page that opens from the disk, and stop.")
    ] = None,
    prompt: Annotated[
        Files, typer.Option("--prompt", metavar="TEXT", help="With --static: a question that it answers; may be given several times.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, max=64, help="With --static: people who answer each; 24 where not given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="With --static: seed of all that is drawn; else 0.")] = None,
) -> None:
    """Open a page on this machine to meet the raters of a run.

    Who says what, the map of them, how a text may go on, what a jury thinks, and where you stand yourself. It is served at an address that
    this machine alone can open, until Ctrl-C. Nothing is written. With --static one file with answers computed beforehand is written
    instead, which needs no server.
    """
    set_environment()
    if static is not None:
        from raterhf.explore.static import write_static

        say(write_static(run, static, prompt or [], n or 24, seed or 0))
        return
    if given := [name for name, value in (("--prompt", prompt), ("-n", n), ("--seed", seed)) if value is not None]:
        raise UserError(f"{' and '.join(given)} without --static: the page itself asks for them; leave them out, or add --static FILE")
    from raterhf.explore.server import serve

    serve(run, port)
