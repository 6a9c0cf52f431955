"""What the page can ask by name: for each what a request must say, and the function that answers it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from raterhf.errors import UserError
from raterhf.explore import answers, jury, multiverse, person, space, you
from raterhf.explore.asked import (
    MOST_ANSWERS,
    MOST_PEOPLE,
    Asked,
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
from raterhf.run import untrained_stages


class Work(NamedTuple):
    kind: type[Asked]
    answer: Callable[[Opened, Any, Teller], object]


def about(opened: Opened, asked: AskedMap, job: Teller) -> dict:
    """What the page has to know of a run before anything is asked."""
    pool = opened.run.raters
    try:
        space.plane_of(pool)
        drawn = ""
    except UserError as error:
        drawn = str(error)
    vanilla, scores, prompts = opened.vanilla is not None, opened.scores, opened.prompts
    return {
        "run": str(opened.run.folder), "stage": opened.stage.name, "untrained": untrained_stages(opened.run.folder), "prompts": prompts,
        "known": pool.known[:2000], "personas": sorted(pool.personas), "knows": pool.encoding != "none", "no_map": drawn,
        "vanilla": vanilla, "no_vanilla": opened.missing.get(VANILLA, ""), "scores": scores, "no_scores": opened.missing.get("reward", ""),
        "no_data": opened.missing.get("data", ""), "most_people": MOST_PEOPLE, "most_answers": MOST_ANSWERS,
    }  # fmt: skip


WORKS = {
    "about": Work(AskedMap, about),
    "ask": Work(AskedAnswers, answers.ask),
    "map": Work(AskedMap, lambda opened, asked, job: space.draw_map(opened)),
    "path": Work(AskedPath, lambda opened, asked, job: space.walk(opened, asked)),
    "person": Work(AskedPerson, person.meet),
    "read": Work(AskedText, multiverse.read),
    "tree": Work(AskedTree, multiverse.grow),
    "go": Work(AskedText, multiverse.go_on),
    "jury": Work(AskedJury, jury.hear),
    "you": Work(AskedYou, you.place),
}
