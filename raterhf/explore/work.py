"""What the page can ask by name: for each what a request must say, and the function that answers it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from raterhf.errors import UserError
from raterhf.explore import answers, jury, multiverse, person, space, you
from raterhf.explore.asked import (
    MOST_ANSWERS,
    MOST_PEOPLE,
    Asked,
    AskedAbout,
    AskedAnswers,
    AskedJury,
    AskedMap,
    AskedPath,
    AskedPerson,
    AskedText,
    AskedTree,
    AskedYou,
)
from raterhf.explore.opened import VANILLA, Opened
from raterhf.explore.queue import Teller
from raterhf.run_folder import untrained_stages

OFFERED = 2000  # IDs that the page offers while one is typed; any can be typed


class Work(NamedTuple):
    kind: type[Asked]
    answer: Callable[[Opened, Any, Teller], object]


def about(opened: Opened, asked: AskedAbout, job: Teller) -> dict:
    """What the page has to know of a run before anything is asked."""
    pool = opened.run.raters
    try:
        space.plane_of(pool)
        drawn = ""
    except UserError as error:
        drawn = str(error)
    vanilla, prompts = opened.vanilla is not None, opened.prompts
    return {
        "run": str(opened.run.folder), "stage": opened.stage.name, "knows": pool.encoding != "none", "known": pool.known[:OFFERED],
        "untrained": untrained_stages(opened.run.folder) if opened.answers else [], "personas": pool.askable, "prompts": prompts,
        "answers": opened.answers, "no_answers": opened.missing.get("policy", ""),
        "vanilla": vanilla, "no_vanilla": opened.missing.get(VANILLA, ""),
        "scores": opened.scores, "no_scores": opened.missing.get("reward", ""),
        "no_map": drawn, "no_data": opened.missing.get("data", ""), "most_people": MOST_PEOPLE, "most_answers": MOST_ANSWERS,
        "everyone": AskedText.model_fields["n"].default,
    }  # fmt: skip


WORKS = {
    "about": Work(AskedAbout, about),
    "ask": Work(AskedAnswers, answers.ask),
    "map": Work(AskedMap, lambda opened, asked, job: space.draw_map(opened, asked)),
    "path": Work(AskedPath, lambda opened, asked, job: space.walk(opened, asked)),
    "person": Work(AskedPerson, person.meet),
    "read": Work(AskedText, multiverse.read),
    "tree": Work(AskedTree, multiverse.grow),
    "go": Work(AskedText, multiverse.go_on),
    "jury": Work(AskedJury, jury.hear),
    "you": Work(AskedYou, you.place),
}
