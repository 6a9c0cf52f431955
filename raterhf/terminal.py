"""Text and tables in the terminal. What data, recipes and file names hold is shown as text: never as a terminal's command, never as markup.

`printable` is the one function through which such text goes; `show_table` draws every table. Colours are left out
where NO_COLOR is set or the terminal is dumb.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 140  # columns where nobody says how many there are
# Control characters but tab and line feed, marks that turn the direction of text, line separators, and halves of characters.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text with what a terminal would obey, or could not show, written as \u001b: as JSON writes it, so that JSON stays what it says."""
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain() -> bool:
    """Whether colours are unwanted: NO_COLOR is set to something, or the terminal knows no commands."""
    return bool(os.environ.get("NO_COLOR")) or dumb()


def dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def alive(stream: TextIO) -> bool:
    """Whether what is written there can be moved and overwritten, as a progress bar does."""
    return stream.isatty() and not dumb()


def console() -> "Console":
    """What writes tables to stdout, as wide as the terminal; where that is none, as COLUMNS says or wide."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDE
    return Console(width=width, highlight=False, markup=False, emoji=False, no_color=plain() or None)


def show_table(
    columns: Iterable[str], rows: Iterable[Sequence[str]], left: Iterable[str] = (), title: str = "", head: Sequence[str] = (),
    **settings: Any,
) -> None:  # fmt: skip
    """Print a table. Columns of text are those named in `left`; the others are of numbers. What does not fit is folded, never cut.

    `head` is a row apart from the others, above them. `settings` are rich's.
    """
    from rich.table import Table

    table = Table(title=printable(title) or None, title_justify="left", **settings)
    for name in columns:
        table.add_column(printable(name), justify="left" if name in left else "right", overflow="fold")
    if head:
        table.add_row(*map(printable, head), style="dim", end_section=True)
    for row in rows:
        table.add_row(*map(printable, row))
    console().print(table)
