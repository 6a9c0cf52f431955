"""`raterhf bench explore`: how long a person waits for the page of a loaded run: until it shows, for the first token, for all answers.

The page is opened afresh for every repeat, by a Chromium without a window that keeps nothing from the last. Loading the run is not counted.
"""

from pathlib import Path

import numpy as np
import torch

from raterhf.bench.measure import machine
from raterhf.errors import UserError
from raterhf.explore.browser import chromium, serving
from raterhf.explore.opened import Opened
from raterhf.log import log
from raterhf.models.place import pick_device
from raterhf.run import open_run
from raterhf.terminal import show_table

WAIT = 600_000  # milliseconds for one answer
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
USABLE = (
    "document.querySelector('#prompt') && document.querySelector('#view[aria-busy=false], #view:not([aria-busy])') && performance.now()"
)
BEGUN = "[...document.querySelectorAll('.said')].some((one) => one.textContent) && performance.now()"
DONE = "document.querySelector('.spread, .column, .command') && document.querySelector('#view[aria-busy=false]') && performance.now()"
ASKED = "() => { const now = performance.now(); document.querySelector('#question').requestSubmit(); return now; }"
PARTS = ("first paint", "the question can be typed", "first token after asking", "all answers, counted")


def bench_explore(run: Path, prompt: str | None, n: int, repeats: int) -> dict:
    """Seconds of each part, the range of the repeats after a warm-up. Raises UserError where there is nothing to ask, or no browser."""
    opened = Opened(open_run(run))
    if not opened.answers:
        raise UserError(opened.missing["policy"])
    asked = prompt or next(iter(opened.prompts), None)
    if asked is None:
        raise UserError("no question to ask, and the run's data cannot be read for one; give --prompt TEXT")
    with chromium() as browser, serving(run) as address:
        taken = np.array([_open(browser, address, asked, n) for _ in range(repeats + 1)])
    rows = [
        {"part": part, "median": float(np.median(seconds[1:])), "low": seconds[1:].min(), "high": seconds[1:].max(), "warm_up": seconds[0]}
        for part, seconds in zip(PARTS, taken.T)
    ]
    on = machine(pick_device(), torch.float32)
    return {"machine": on, "run": str(run), "prompt": asked, "people": n, "repeats": repeats, "rows": rows}


def _open(browser, address: str, prompt: str, n: int) -> list[float]:
    """Seconds of PARTS of one visit."""
    context = browser.new_context(bypass_csp=True)  # the page runs nothing that it did not bring, such as what waits here
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    moment = lambda what: page.wait_for_function(what).json_value()  # noqa: E731
    painted, usable = moment(PAINTED), moment(USABLE)
    page.locator("#prompt").fill(prompt)
    page.locator("#n").fill(str(n))
    asked = page.evaluate(ASKED)
    begun, done = moment(BEGUN), moment(DONE)
    context.close()
    return [milliseconds / 1000 for milliseconds in (painted, usable, begun - asked, done - asked)]


def print_explore(found: dict) -> None:
    """A row for each part."""
    on = found["machine"]
    log.info(f"{on['name']} ({on['device']}, {on['threads']} threads)")
    told = lambda row: [row["part"], f"{row['median']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}", f"{row['warm_up']:.2f}"]  # noqa: E731
    title = f"{found['run']}, {found['people']} people asked {found['prompt']!r}: seconds of {found['repeats']} visits"
    show_table(["part", "median", "range", "first visit"], map(told, found["rows"]), left=["part"], title=title)
