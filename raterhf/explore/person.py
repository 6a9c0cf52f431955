"""One person of the map: who they are, what they say, and what they like more and less than others do."""

import numpy as np

from raterhf.errors import UserError
from raterhf.explore.asked import AskedPerson
from raterhf.explore.opened import Opened
from raterhf.explore.queue import Teller
from raterhf.explore.space import placed

SAYS = 4  # prompts
CANDIDATES = 120  # answers of the data that are scored
OTHERS = "new:32x"
SHOWN = 3


def meet(opened: Opened, asked: AskedPerson, job: Teller) -> dict:
    """Tells `who` at once and `says`; returns what they like, or why that is not known."""
    pool = opened.run.raters
    person = opened.one(asked.rater)
    at = None
    if person.vector is not None and pool.encoding == "embedding":
        at = placed(opened, asked.by).at(pool, person)
    known = person.id in pool.index
    job.tell("who", {
        "rater": person.id, "at": at, "known": known, "labels": opened.label_counts[person.id], "group": pool.groups.get(person.id, ""),
        "personas": [name for name, members in pool.personas.items() if person.id in members],
        "inferred": person.id in pool.covariances,
    })  # fmt: skip
    prompts = opened.prompts[:SAYS]
    if prompts and opened.answers:
        said = opened.run.sample(prompts, person.id, 1, asked.seed, heard=lambda _: job.check())
        job.tell("says", [{"prompt": one.prompt, "text": one.completion} for one in said])
    try:
        return {"likes": likes(opened, person.id, asked.seed, job)}
    except UserError as error:
        return {"likes": None, "why": str(error)}


def likes(opened: Opened, spec: str, seed: int, job: Teller) -> dict:
    """The answers of the data that somebody likes most and least beside 32 fictitious people: margins over each prompt's answers, in
    units of Bradley-Terry noise, less the others' mean margin."""
    if not opened.scores:
        raise UserError(opened.missing["reward"])
    pairs = opened.candidates(CANDIDATES)
    if not pairs:
        raise UserError(opened.missing.get("data", "the run's data hold no answers to compare"))
    if seed not in opened.others:  # the same for everybody who is met
        opened.others[seed] = _margins(opened, pairs, OTHERS, seed).mean(0)
    job.check()
    apart = _margins(opened, pairs, spec, seed)[0] - opened.others[seed]
    order = np.argsort(apart, kind="stable")
    show = lambda i: {"prompt": pairs[i][0], "text": pairs[i][1], "more": round(float(apart[i]), 2)}  # noqa: E731
    return {"most": [show(i) for i in order[::-1][:SHOWN]], "least": [show(i) for i in order[:SHOWN]], "of": len(pairs)}


def _margins(opened: Opened, pairs: list, spec: str, seed: int) -> np.ndarray:
    """Scores [K, N] of answers over the mean of each rater's scores of that prompt's answers."""
    scores = opened.run.score(pairs, spec, seed).to_numpy(np.float64, copy=True)
    for rows in _by_prompt(pairs):
        scores[:, rows] -= scores[:, rows].mean(1, keepdims=True)
    return scores


def _by_prompt(pairs: list) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for i, (prompt, _) in enumerate(pairs):
        rows.setdefault(str(prompt), []).append(i)
    return list(rows.values())
