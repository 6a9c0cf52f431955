"""Share: one page that opens from the disk, with answers, map and multiverse computed beforehand.

It is the same page. What it would ask of a server is asked here, and kept in it: by each request, the events that answer it.
"""

import json
from pathlib import Path

from raterhf.errors import UserError
from raterhf.explore.asked import LONGEST, Asked
from raterhf.explore.files import static_page
from raterhf.explore.opened import EVERYONE, VANILLA, Opened
from raterhf.explore.work import WORKS
from raterhf.io import write_text
from raterhf.log import log
from raterhf.run import open_run

PROMPTS = 4  # of the run's own, where none are given
MET = 32  # known raters, and as many numbered fictitious people, who can be met on the map
TEXTS = 24  # of each tree, that can be read token by token
BY = "pca"  # the projection of the map


class Kept:
    """Requests and the events that answer them, in place of a server."""

    def __init__(self, opened: Opened):
        self.opened = opened
        self.events: dict[str, list] = {}
        self._told: list = []

    def tell(self, kind: str, data: object) -> None:
        """What the work tells on its way; only what comes last of its kind."""
        self._told = [(before, said) for before, said in self._told if before != kind] + [(kind, data)]

    def check(self) -> None:
        """Somebody always waits."""

    def ask(self, name: str, body: dict) -> dict:
        self._told = []
        kind: type[Asked] = WORKS[name].kind
        found = WORKS[name].answer(self.opened, kind.model_validate(body), self)
        told = [[kind, said] for kind, said in self._told if kind not in ("grown", "level")]
        self.events[key_of(name, body)] = [*told, ["done", found]]
        return found  # type: ignore[return-value]  # what is read again here are objects


def key_of(name: str, body: dict) -> str:
    """One request in one writing, as web/src/api.js has it."""
    return f"{name} {json.dumps(body, sort_keys=True, separators=(',', ':'), ensure_ascii=False)}"


def write_static(run: Path, file: Path, prompts: list[str], n: int, seed: int) -> Path:
    """Write the page of a run. Raises UserError where there is nothing to ask."""
    opened = Opened(open_run(run))
    if not opened.answers:
        raise UserError(opened.missing["policy"])
    asked = prompts or opened.prompts[:PROMPTS]
    if not asked:
        raise UserError("no question for the page, and the run's data cannot be read for one; give --prompt TEXT, once or more")
    if long := [prompt for prompt in asked if len(prompt) > LONGEST]:
        raise UserError(f"--prompt {long[0][:60]!r} has {len(long[0])} characters, the page takes {LONGEST}; shorten it")
    kept = Kept(opened)
    about = kept.ask("about", {})
    rater = "new" if about["knows"] else "none"
    for prompt in asked:
        kept.ask("ask", {"prompt": prompt, "rater": rater, "n": n, "seed": seed})
        _keep_trees(kept, prompt, about, seed)
        log.info(f"  {prompt[:60]!r} is answered")
    if not about["no_map"]:
        people = opened.run.raters.resolve("new", n, seed)
        known = opened.run.raters.known
        step = max(1, len(known) // MET)
        kept.ask("map", {"by": BY})
        for one in [*(person.id for person in people), *(f"new:{i}" for i in range(MET)), *known[::step][:MET]]:
            kept.ask("person", {"rater": one, "seed": seed, "by": BY})
    about |= {"prompts": asked, "fixed": {"rater": rater, "n": n, "seed": seed}}
    write_text(file, static_page(f"raterhf: {opened.run.folder.name}", kept.events))
    return file


def _keep_trees(kept: Kept, prompt: str, about: dict, seed: int) -> None:
    """The trees of each voice from the start, and the likeliest texts in them read by each voice."""
    voices = [EVERYONE, "new:0"] if about["knows"] else ["none"]
    voices += [VANILLA] if about["vanilla"] else []
    body = {"prompt": prompt, "seed": seed}
    texts: dict[tuple[int, ...], None] = {(): None}
    for voice in voices:
        grown = kept.ask("tree", body | {"said": [], "voice": voice})
        texts |= dict.fromkeys(ids for _, ids in sorted(_texts_in(grown["tree"]))[:TEXTS])
    for ids in texts:
        for voice in voices:
            kept.ask("read", body | {"said": list(ids), "voice": voice})


def _texts_in(node: dict) -> list[tuple[float, tuple[int, ...]]]:
    """(minus the probability, token ids) of every stretch of a shown tree."""
    return [(-node["p"], tuple(node["ids"])), *(found for way in node["ways"] for found in _texts_in(way))]
