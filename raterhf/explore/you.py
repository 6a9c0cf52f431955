"""You: where a person stands who compares a few pairs, chosen to tell most, and how sure that is. Nothing is saved."""

import numpy as np
import pandas as pd

from raterhf.errors import UserError
from raterhf.explore.asked import AskedYou
from raterhf.explore.opened import Opened
from raterhf.explore.queue import Teller
from raterhf.explore.space import plane_of, rounded
from raterhf.raters.pool import RaterPool

ENOUGH = 10  # comparisons
CANDIDATES = 140  # answers of the data, of whose pairs the most telling are shown


def place(opened: Opened, asked: AskedYou, job: Teller) -> dict:
    """Who these labels make of somebody, as a point that `sample` understands, and the pair to show next."""
    if not opened.scores:
        raise UserError(opened.missing["reward"])
    run, pool = opened.run, opened.run.raters
    plane = plane_of(pool)
    name = _free_id(pool)
    labels = pd.DataFrame([label.model_dump() for label in asked.labels]) if asked.labels else None
    fitted = run.fit_rater(labels, name)[0]
    job.check()
    question = None
    if len(asked.labels) < ENOUGH:
        next_pair = run.ask(name, opened.candidates(CANDIDATES) or None, labels, seed=asked.seed)[0]
        question = {"prompt": next_pair.prompt, "a": next_pair.a, "b": next_pair.b, "information": next_pair.information}
    return {
        "rater": pool.at(fitted.mean).id,
        "at": rounded(plane.place(fitted.mean)),
        "covariance": np.round(plane.axes @ fitted.covariance @ plane.axes.T, 5).tolist(),
        "unknown": round(float(fitted.covariance.trace() / pool.prior().covariance().trace()), 3),
        "labels": len(asked.labels),
        "enough": ENOUGH,
        "question": question,
    }


def _free_id(pool: RaterPool) -> str:
    name = "you"
    while name in pool.index:
        name += "-"
    return name
