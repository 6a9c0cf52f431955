"""Takes the pictures of docs/howto/explore.md from the demo's run, and writes the page that it shares: `python docs/pictures.py runs/dice`.

Needs what the slow tests of the page need: `pip install 'raterhf[explore,browser]'` and a Chromium.
"""

import sys
from pathlib import Path

from playwright.sync_api import Page

from raterhf.explore.browser import chromium, serving
from raterhf.explore.static import write_static

FOLDER = Path(__file__).parent / "pictures"
PROMPT = "What do you like to drink?"
POEM = "Make a poem about rain."
SIZE = {"width": 1000, "height": 720}


def ask(page: Page) -> None:
    page.locator(".spread").first.wait_for()


def meet(page: Page) -> None:
    page.locator(".panel .likes").nth(1).wait_for()
    page.locator("#view[aria-busy=false]").wait_for()
    page.locator(".map svg[role=application]").hover(position={"x": 470, "y": 130})
    page.locator(".told").get_by_text("Likes most:").wait_for()


def branch(page: Page) -> None:
    page.locator(".block").nth(4).wait_for()
    page.locator(".ways h3").nth(3).wait_for()


VIEWS = {
    "explore-ask": (f"view=ask&asked=1&prompt={PROMPT}", ask, 860),
    "explore-map": ("view=map&pick=new:7", meet, 900),
    "explore-multiverse": (f"view=multiverse&prompt={POEM}", branch, 1330),
}


def take(run: str) -> None:
    with chromium() as browser, serving(Path(run)) as address:
        for name, (shown, ready, height) in VIEWS.items():
            page = browser.new_page(viewport=SIZE | {"height": height}, color_scheme="light")
            page.goto(f"{address}#{shown}")
            ready(page)
            page.locator("#view[aria-busy=false]").wait_for()
            page.wait_for_timeout(1000)
            page.screenshot(path=FOLDER / f"{name}.png")
            page.close()


if __name__ == "__main__":
    take(sys.argv[1])
    write_static(Path(sys.argv[1]), FOLDER.parent / "howto" / "explore-shared.html", [PROMPT, POEM], n=12, seed=0)
