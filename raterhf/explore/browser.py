"""The page in a Chromium of this machine, without a window: for `raterhf bench explore`, the slow tests and the docs' pictures."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from raterhf.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> "Iterator[Browser]":
    """The browser. Raises UserError where playwright or a Chromium is missing."""
    if find_spec("playwright") is None:
        raise UserError("a browser is driven by the package playwright, which is not installed: pip install 'raterhf[browser]'")
    from playwright.sync_api import sync_playwright

    installed = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        program = installed or driver.chromium.executable_path
        if not Path(program).is_file():
            raise UserError(
                f"no Chromium at {program}; install Debian's package chromium, run `playwright install chromium`, or name one in the "
                "environment variable CHROMIUM"
            )
        # Its sandbox does not start as root. What it opens is our own page, and nothing else.
        made = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if sys.platform != "win32" and os.geteuid() == 0 else []
        )
        try:
            yield made
        finally:
            made.close()


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """The address of a run's page while it is served, by a process of its own. Raises UserError where it does not start, or end."""
    command = [sys.executable, "-m", "raterhf", "explore", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        try:
            address = re.search(r"http://\S+", served.stdout.readline())
            if address is None:
                raise UserError(f"`{' '.join(command[2:])}` gave no address; what it says stands above")
            yield address[0]
        finally:
            served.send_signal(signal.SIGINT)
    if served.returncode:
        raise UserError(f"`{' '.join(command[2:])}` ended with {served.returncode} on Ctrl-C, and not with 0; what it says stands above")
