"""What raterhf tells of its work: the logger `raterhf`. Progress of long steps is `progress.py`'s.

The command line shows everything on stdout. A program that imports raterhf sees warnings alone, unless it calls `show_log` or gives the
logger a handler of its own.
"""

import logging
import sys

from raterhf.terminal import printable

log = logging.getLogger("raterhf")


class _Console(logging.Handler):
    """Writes messages to what stdout is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(printable(self.format(record)) + "\n")
        sys.stdout.flush()


def show_log(level: int = logging.INFO) -> None:
    """Show messages from this level on, on stdout; once however often it is called."""
    log.setLevel(level)
    if not any(isinstance(handler, _Console) for handler in log.handlers):
        log.addHandler(_Console())
        log.propagate = False
