"""The page of `raterhf explore` as a person uses it, in headless Chromium: clicked, typed, streamed, branched, reloaded, shared.

Needs the package playwright (`pip install 'raterhf[browser]'`) and a Chromium (Debian's package, or where CHROMIUM says).
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from explored import COIN, DIE, save_explored
from small_run import rows_of, succeeds

from raterhf.errors import UserError
from raterhf.explore.browser import chromium, serving

pytestmark = pytest.mark.slow
WAIT = 60_000  # milliseconds


@pytest.fixture(scope="module")
def browser():
    started = chromium()
    try:
        made = started.__enter__()
    except UserError as error:
        pytest.skip(str(error))
    yield made
    started.__exit__(None, None, None)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return save_explored(tmp_path_factory.mktemp("explored"), vanilla=True)


@pytest.fixture(scope="module")
def address(home):
    with serving(home) as found:
        yield found


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def page(browser, address, request):
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(WAIT)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    asked: list[str] = []
    made.on("request", lambda one: asked.append(one.url))
    made.goto(address)
    made.locator("#prompt").wait_for()
    yield made
    assert wrong == []
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)  # nothing from elsewhere
    assert made.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def view(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def idle(page) -> None:
    """Until nothing is being computed."""
    page.locator("#view[aria-busy=false]").wait_for(state="attached")


def ask(page, prompt: str) -> None:
    page.locator("#prompt").fill(prompt)
    page.keyboard.press("Enter")
    page.locator(".people").first.wait_for()
    idle(page)


def test_people_are_asked_held_and_asked_again(page, home):
    page.keyboard.press("/")
    page.keyboard.type(DIE)
    page.keyboard.press("Enter")
    page.locator(".spread").first.wait_for()
    printed = rows_of(succeeds("sample", home, "--prompt", DIE, "-n", 12))
    shown = page.locator(".people .said").all_inner_texts()
    assert sorted(text.strip() for text in shown) == sorted(row["completion"].strip() for row in printed)
    sides = page.locator(".spread").first.inner_text()
    assert "these people" in sides and "vanilla RLHF" in sides and "people in the data" in sides
    rater = page.locator(".people .person button").first.get_attribute("title")
    page.locator(".people .person button").first.click()
    assert page.locator("#rater").input_value() == rater and page.locator("#n").input_value() == "1"
    for prompt in (DIE, COIN):
        ask(page, prompt)
    assert page.locator(".column dt").all_inner_texts() == [DIE, COIN]
    first = page.locator(".column dd").all_inner_texts()
    page.reload()
    page.locator(".column").wait_for()
    assert page.locator(".column dd").all_inner_texts() == first[1:]  # the same words; what was asked before went with the page
    page.get_by_role("button", name="Let go").click()
    assert page.locator("#rater").input_value() == "new"


def test_the_map_is_clicked_and_walked(page):
    view(page, "Map")
    drawing = page.locator(".map svg[role=application]")
    drawing.wait_for()
    box = drawing.bounding_box()
    drawing.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.5})
    page.locator(".panel .likes").first.wait_for()
    rater = page.locator(".panel h2").first.get_attribute("title")
    assert re.fullmatch(r"new:\d+|ann|bob|cy", rater) and rater in page.locator(".panel .command").inner_text()
    page.reload()  # who was picked stands in the address
    page.locator(".panel .likes").first.wait_for()
    assert page.locator(".panel h2").first.get_attribute("title") == rater
    page.get_by_role("button", name="Walk to…").click()
    page.keyboard.press("Escape")
    page.get_by_text("No walk.").wait_for()
    page.get_by_role("button", name="Walk to…").click()
    for _ in range(6):  # with the keyboard alone
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    assert page.locator(".told b").inner_text()
    page.keyboard.press("Enter")
    page.get_by_text("A walk in five steps").wait_for()
    assert page.locator(".panel ol li").count() == 5
    page.get_by_text("only their taste differs").wait_for()
    assert all(page.locator(".panel ol .said").all_inner_texts())


def test_whoever_is_pointed_at_is_heard_once(page):
    asked = []
    page.on("request", lambda one: asked.append(one.post_data_json["rater"]) if one.url.endswith("/api/person") else None)
    view(page, "Map")
    drawing = page.locator(".map svg[role=application]")
    drawing.wait_for()
    idle(page)
    box = drawing.bounding_box()
    point = lambda x, y: page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)  # noqa: E731
    card = page.locator(".told")
    for step in range(40):  # over many people, resting on nobody
        point(0.2 + 0.015 * step, 0.3)
    assert card.is_visible() and "Rest here to hear them" in card.inner_text() and asked == []
    point(0.5, 0.5)
    card.get_by_text("Likes most:").wait_for()
    first = card.locator("b").inner_text()
    assert DIE in card.inner_text() and "Likes least:" in card.inner_text() and len(asked) == 1
    point(0.1, 0.1)
    card.get_by_text("Likes most:").wait_for()
    point(0.5, 0.5)  # who was heard is remembered
    card.get_by_text("Likes most:").wait_for()
    assert card.locator("b").inner_text() == first and len(asked) == 2
    card_box = card.bounding_box()
    assert card_box["x"] >= 0 and card_box["x"] + card_box["width"] <= page.viewport_size["width"]
    drawing.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.5})  # and met without asking again
    page.locator(".panel .likes").first.wait_for()
    assert len(asked) == 2 and card.is_hidden()


def test_the_map_is_enlarged_and_moved(page):
    view(page, "Map")
    drawing = page.locator(".map svg[role=application]")
    drawing.wait_for()
    where = lambda: page.locator("circle.known").first.get_attribute("transform")  # noqa: E731
    whole = where()
    page.get_by_role("button", name="Enlarge", exact=True).click()
    assert where() != whole and page.locator(".density").get_attribute("transform").endswith("scale(1.6)")
    nearer = where()
    drawing.focus()
    for _ in range(60):  # to the edge, and beyond it
        page.keyboard.press("ArrowRight")
    assert where() != nearer
    page.keyboard.press("0")
    assert where() == whole
    box = drawing.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.wheel(0, -300)  # which scrolls the page
    assert where() == whole
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.density').getAttribute('transform') !== 'translate(0,0) scale(1)'")
    assert where() != whole


def test_the_map_is_drawn_by_umap_or_says_why_not(page):
    view(page, "Map")
    page.locator("figcaption", has_text="principal components").wait_for()
    page.get_by_role("button", name="UMAP", exact=True).click()
    if find_spec("umap") is None:
        page.get_by_text("UMAP needs the package umap-learn").wait_for()
        page.locator("figcaption", has_text="principal components").wait_for()
        return
    page.locator("figcaption", has_text="Not kept: how far apart people are").wait_for(timeout=10 * WAIT)  # numba compiles
    assert "by=umap" in page.url
    page.locator(".map svg[role=application]").click(position={"x": 100, "y": 100})
    page.locator(".panel .likes").first.wait_for()


def test_a_text_is_branched_undone_and_kept(page, tmp_path):
    page.goto(page.url.partition("#")[0] + f"#view=multiverse&prompt={DIE.replace(' ', '+')}")
    page.reload()
    page.locator(".blocks").wait_for()
    idle(page)
    page.locator("#view").focus()
    page.keyboard.press("g")
    page.locator(".branches li").wait_for()
    idle(page)
    tokens = page.locator(".text .token")
    count = tokens.count()
    said = tokens.all_inner_texts()
    tokens.first.hover()
    voices = page.locator(".ways h3").all_inner_texts()
    page.wait_for_timeout(500)
    voices = page.locator(".ways h3").all_inner_texts()
    assert voices[0] == "everyone (16 people)" and "vanilla RLHF" in voices and "nobody in particular" in voices
    page.locator(".ways").first.locator("button:not([aria-current])").first.click()  # another first token
    page.locator(".blocks").wait_for()
    idle(page)
    assert page.locator(".text .token").count() == 2 != count
    page.reload()
    page.locator(".blocks").wait_for()
    idle(page)
    assert page.locator(".text .token").count() == 2 and page.locator(".branches li").count() == 1
    page.get_by_role("button", name="Bookmark", exact=True).first.click()
    assert page.locator(".branches li").count() == 2 and page.locator(".branches li [aria-pressed=true]").count() == 1
    page.locator(".branches li input").first.fill("first")
    page.keyboard.press("Tab")
    with page.expect_download() as held:
        page.get_by_role("button", name="Export").click()
    held.value.save_as(tmp_path / "multiverse.json")
    exported = json.loads((tmp_path / "multiverse.json").read_text("utf-8"))
    assert [branch["tag"] for branch in exported["branches"]] == ["first", ""] and exported["version"] == 1
    while page.locator(".branches li").count():
        page.get_by_role("button", name="Forget this branch").first.click()
    page.locator("#import").set_input_files(tmp_path / "multiverse.json")
    page.get_by_text("2 branches are in.").wait_for()
    (tmp_path / "other.json").write_text('{"branches": [{"prompt": 1}]}')
    page.locator("#import").set_input_files(tmp_path / "other.json")
    page.get_by_text("other.json was not read").wait_for()
    page.get_by_role("button", name="Tree", exact=True).click()
    page.locator(".tree").wait_for()
    idle(page)
    page.locator("#view").focus()
    page.keyboard.press("u")  # back to blocks
    page.locator(".blocks").wait_for()
    idle(page)
    page.locator(".branches .link").last.click()
    page.locator(".blocks").wait_for()
    idle(page)
    assert page.locator(".text .token").all_inner_texts() == said


def test_a_jury_hears_pasted_answers(page):
    page.locator("#prompt").fill(DIE)
    page.locator("#prompt").blur()
    view(page, "Jury")
    page.locator("#answers").fill("1\n6")
    page.get_by_role("button", name="Judge").click()
    page.locator(".dots").first.wait_for()
    assert page.locator(".dots").count() == 2 and page.locator(".dots").first.locator(".likes, .dislikes").count() == 64
    assert page.locator(".chosen").count() >= 6 and "borda" in page.locator(".scroll").inner_text()
    page.locator(".dots").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"new:\S+: [+−]\d+\.\d\d", page.locator(".juror").first.inner_text())
    page.locator("#answers").fill("1")
    page.get_by_role("button", name="Judge").click()
    page.get_by_text("a jury compares answers: paste two or more").wait_for()


def test_you_are_placed_and_answered_for(page):
    page.locator("#prompt").fill(DIE)
    page.locator("#prompt").blur()
    view(page, "You")
    for i in range(4):  # the tiny run has few pairs
        page.get_by_role("heading", name=f"Pair {i + 1} of 10").wait_for()
        page.keyboard.press("Enter")  # the first answer has the focus
    page.get_by_role("heading", name="Pair 5 of 10").wait_for()
    assert re.search(r"(\d+) % of what people differ in is still unknown", page.locator(".map figcaption").inner_text())
    page.get_by_role("button", name="Begin again").click()
    page.get_by_role("heading", name="Pair 1 of 10").wait_for()


def test_an_unknown_rater_and_a_stop_are_said(page):
    page.locator("#prompt").fill(DIE)
    page.locator("#rater").fill("anne")
    page.get_by_role("button", name="Ask", exact=True).last.click()
    page.locator("#status.wrong").wait_for()
    assert "rater 'anne' is not known to this run" in page.locator("#status").inner_text()
    page.locator("#rater").fill("new")
    page.locator("#n").fill("64")
    page.get_by_role("button", name="Ask", exact=True).last.click()
    page.keyboard.press("Escape")
    idle(page)


def test_every_view_is_used_with_the_keyboard_alone(page):
    press, focused = (
        page.keyboard.press,
        lambda: page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"),
    )

    def tab_to(name: str) -> None:
        for _ in range(60):
            press("Tab")
            if (focused() or "").startswith(name):
                return
        raise AssertionError(f"{name} is not reached, but {focused()}")

    press("/")
    page.keyboard.type(DIE)
    press("Enter")  # and out of the field, so that 2 is the second view
    page.locator(".spread").first.wait_for()
    idle(page)
    press("2")
    page.locator(".map svg[role=application]").wait_for()
    tab_to("Map of raters")
    press("+")
    press("ArrowLeft")
    page.locator(".told").get_by_text("Likes most:").wait_for()
    press("Enter")
    page.locator(".panel .likes").first.wait_for()
    idle(page)
    press("3")
    page.locator(".blocks").wait_for()
    idle(page)
    press("g")
    page.locator(".branches li").wait_for()
    idle(page)
    press("ArrowLeft")
    page.locator(".ways [aria-current]").first.wait_for()
    press("4")
    tab_to("answers")
    page.keyboard.type("1\n6")
    press("Escape")
    for _ in range(8):
        press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Judge":
            break
    press("Enter")
    page.locator(".dots").first.wait_for()
    idle(page)
    press("5")
    page.get_by_role("heading", name="Pair 1 of 10").wait_for()
    press("Enter")
    page.get_by_role("heading", name="Pair 2 of 10").wait_for()


def test_what_is_said_is_shown_as_text(page):
    markup = "<img src=x onerror=alert(1)><b>bold</b>"
    ask(page, markup)
    page.locator("#view").focus()
    page.keyboard.press("3")
    page.locator(".blocks").wait_for()
    idle(page)
    assert page.locator(".text .asked").inner_text() == markup and page.locator("main img, main .asked b").count() == 0


@pytest.mark.parametrize("name", ["Ask", "Map", "Multiverse", "Jury", "You"])
def test_axe_finds_nothing_serious(page, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    if name == "You":
        view(page, name)
        page.get_by_role("heading", name="Pair 1 of 10").wait_for()
    else:
        ask(page, DIE)
        view(page, name)
    if name == "Jury":
        page.locator("#answers").fill("1\n6")
        page.get_by_role("button", name="Judge").click()
        page.locator(".dots").first.wait_for()
    if name == "Multiverse":
        page.locator(".blocks").wait_for()
    idle(page)
    found = axe.Axe().run(page).response["violations"]
    serious = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


def test_a_reward_model_alone_has_a_map_a_jury_and_you(browser, home, tmp_path):
    shutil.copytree(home / "reward", tmp_path / "alone" / "reward")
    with serving(tmp_path / "alone") as address:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.locator(".map svg[role=application]").wait_for()
        assert page.locator("nav button").all_inner_texts() == ["Map", "Jury", "You", "?"]
        page.locator("#prompt").fill(DIE)
        page.keyboard.press("Enter")
        page.locator("#answers").fill("1\n6")
        page.get_by_role("button", name="Judge").click()
        page.locator(".dots").first.wait_for()
        page.close()


def test_a_shared_page_opens_from_the_disk(browser, home, tmp_path):
    succeeds("explore", home, "--static", tmp_path / "page.html", "--prompt", DIE, "-n", 6)
    printed = rows_of(succeeds("sample", home, "--prompt", DIE, "-n", 6))
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".chips .chip").first.click()
    page.locator(".spread").first.wait_for()
    shown = page.locator(".people .said").all_inner_texts()
    assert sorted(text.strip() for text in shown) == sorted(row["completion"].strip() for row in printed)
    assert page.locator("nav button").all_inner_texts() == ["Ask", "Map", "Multiverse", "?"]
    page.get_by_role("button", name="Multiverse", exact=True).click()
    page.locator(".blocks button:enabled").first.click()
    page.locator(".text .token").nth(1).wait_for()
    page.get_by_role("button", name="Map", exact=True).click()
    drawing = page.locator(".map svg[role=application]")
    drawing.wait_for()
    drawing.click(position={"x": 100, "y": 100})
    page.locator(".panel .likes").first.wait_for()
    page.locator("#prompt").fill("something else")
    page.keyboard.press("Enter")
    page.get_by_text("this page holds what was computed beforehand, and not this").wait_for()
    assert wrong == []
    page.close()


def test_the_wait_for_the_page_is_timed(browser, home, tmp_path):
    # In a process of its own: one process drives one playwright.
    command = [
        sys.executable,
        "-m",
        "raterhf",
        "bench",
        "explore",
        str(home),
        "--repeats",
        "1",
        "-n",
        "3",
        "--out",
        str(tmp_path / "found.json"),
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["part"] for row in found["rows"]] == [
        "first paint",
        "the question can be typed",
        "first token after asking",
        "all answers, counted",
    ]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in found["rows"]) and "first paint" in out
    assert found["rows"][0]["median"] <= found["rows"][1]["median"] and found["rows"][2]["median"] <= found["rows"][3]["median"]
