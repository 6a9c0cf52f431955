"""Jury: what each of many people thinks of some answers, what rules decide, and who objects."""

import numpy as np

from raterhf.errors import UserError
from raterhf.explore.asked import AskedJury
from raterhf.explore.opened import Opened
from raterhf.explore.queue import Teller
from raterhf.raters.juries import RULES, judge, read_verdict

SHOWN_RULES = (*RULES, "quantile:.1")
OBJECTORS = 3


def hear(opened: Opened, asked: AskedJury, job: Teller) -> dict:
    """Margins [K][N] of jurors (an answer's score less the mean of a juror's scores), a verdict of each rule, and who objects to what."""
    if not opened.scores:
        raise UserError(opened.missing["reward"])
    if len(set(asked.answers)) < len(asked.answers):
        raise UserError("two answers are the same; change or remove one")
    spec = f"new:{asked.n}x" if asked.raters == "new" else "all"
    job.check()
    table = opened.run.score([(asked.prompt, answer) for answer in asked.answers], spec, asked.seed)
    job.check()
    scores = table.to_numpy(np.float64)
    jurors = [str(one) for one in table.index]
    rules = {rule: judge(scores, read_verdict(rule), [""] * len(scores), asked.seed) for rule in SHOWN_RULES}
    first = next(iter(rules.values()))
    margins = scores - scores.mean(1, keepdims=True)
    favourite = scores.argmax(1)
    return {
        "jurors": jurors,
        "margins": np.round(margins, 3).tolist(),
        "rules": [
            {"rule": rule, "chosen": found.chosen.tolist(), **found[["verdict", "low", "high", "wins"]].round(3).to_dict("list")}
            for rule, found in rules.items()
        ],
        "answers": [
            {
                "text": answer, "preferred": round(float(first.preferred[i]), 3), "spread": round(float(first.spread[i]), 3),
                "divisive": bool(first.divisive[i]), "safest": bool(first.safest[i]),
                "objectors": _objectors(margins, favourite, jurors, i),
            }
            for i, answer in enumerate(asked.answers)
        ],
    }  # fmt: skip


def _objectors(margins: np.ndarray, favourite: np.ndarray, jurors: list[str], i: int) -> list[dict]:
    """Those who like answer `i` least, of those whose favourite is another."""
    order = [k for k in np.argsort(margins[:, i], kind="stable") if favourite[k] != i and margins[k, i] < 0]
    return [{"rater": jurors[k], "margin": round(float(margins[k, i]), 2), "likes": int(favourite[k])} for k in order[:OBJECTORS]]
