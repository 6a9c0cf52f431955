"""Progress of long steps, on stderr: a bar where that is a terminal that can redraw, else plain lines, one every half minute and one at
the end.

Both say how much is done, the seconds a step takes, the time so far and the time left. Lines come also while one step takes long, so that
a log shows that the program is at work. Processes side by side each write lines. Nothing goes to stdout.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from raterhf.terminal import alive, plain, printable

EVERY = 30.0  # seconds between two lines
NOTED = 1.0  # seconds between two readings of the note, each of which may wait for the device


class Progress:
    """A context: `advance` inside it says that steps are done. `total` may be set later, and is None where nobody knows it.

    `first` are steps that an earlier run did; the seconds of a step do not count them. `unit` is one step's name.
    """

    def __init__(self, title: str, total: int | None = None, unit: str = "step", first: int = 0):
        self.title, self.total, self.unit = title, total, unit
        self.first, self.done, self.note = first, first, ""
        self.read = -NOTED
        self.bar: _Bar | None = None
        self.stopped = threading.Event()

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        if alive(sys.stderr):
            self.bar = _Bar(self)
        else:
            threading.Thread(target=self._write_lines, daemon=True).start()
        return self

    def advance(self, steps: int = 1, note: Callable[[], str] | str = "") -> None:
        """`steps` more are done. `note` says what came of them, or what comes next; a function is called once a second at most."""
        self.done += steps
        now = time.monotonic()
        if isinstance(note, str):
            self.note = note
        elif now - self.read >= NOTED or self.done == self.total:
            self.read, self.note = now, note()
        if self.bar:
            self.bar.show(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stopped.set()
        if self.bar:
            self.bar.close()
        elif kind is None:
            self._write(self.last_line())

    def times(self) -> str:
        """Seconds a step, time so far, time left, as far as they are known."""
        elapsed, new = time.monotonic() - self.began, self.done - self.first
        parts = [f"{_short(elapsed / new)} a {self.unit}"] if new else []
        parts.append(f"{_long(elapsed)} so far")
        if new and self.total is not None:
            parts.append(f"about {_long(elapsed / new * max(0, self.total - self.done))} left")
        return ", ".join(parts)

    def line(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        counted = f"{self.unit} {self.done}{of}, " if self.total is not None or self.done else ""
        return f"  {self.title}: {counted}{self.times()}{self.noted()}"

    def last_line(self) -> str:
        elapsed, new = time.monotonic() - self.began, self.done - self.first
        counted = (
            f"{new} {self.unit}s in {_long(elapsed)}, {_short(elapsed / new)} a {self.unit}" if new > 1 else f"done in {_long(elapsed)}"
        )
        return f"  {self.title}: {counted}{self.noted()}"

    def noted(self) -> str:
        return f" ({self.note})" if self.note else ""

    def _write_lines(self) -> None:
        while not self.stopped.wait(EVERY):
            self._write(self.line())

    @staticmethod
    def _write(line: str) -> None:
        sys.stderr.write(printable(line) + "\n")  # in one piece: other processes write too
        sys.stderr.flush()


class _Bar:
    """The terminal's bar, by rich. What is printed meanwhile stands above it."""

    def __init__(self, progress: Progress):
        from rich import progress as rich  # here, so that help needs no rich
        from rich.console import Console
        from rich.text import Text

        class Times(rich.ProgressColumn):
            """Made anew at each drawing, so that the times go on while a step takes long."""

            max_refresh = 0.5

            def render(self, task: rich.Task) -> Text:
                return Text(printable(progress.times() + progress.noted()), no_wrap=True, overflow="ellipsis")

        columns = (rich.TextColumn("{task.description}", markup=False), rich.BarColumn(16), rich.MofNCompleteColumn(), Times())
        self.shown = rich.Progress(*columns, console=Console(stderr=True, no_color=plain() or None), redirect_stdout=sys.stdout.isatty())
        self.shown.start()
        self.task = self.shown.add_task(printable(progress.title), total=progress.total, completed=progress.done)

    def show(self, progress: Progress) -> None:
        self.shown.update(self.task, total=progress.total, completed=progress.done)

    def close(self) -> None:
        self.shown.stop()


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"


def _long(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
