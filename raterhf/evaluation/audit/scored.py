"""What a run's reward model makes of its raters: does it listen to them, and to how much of them.

It scores what was judged for some of the known raters, drawn by the seed. Their labels were trained on, so how often it is right about them
says no more than whether it knows one from another; `raterhf compare` measures held-back labels.
"""

import numpy as np

from raterhf.data.requests import Prompt
from raterhf.errors import UserError
from raterhf.evaluation.audit.judged import Judged
from raterhf.evaluation.audit.things import ACTIVE
from raterhf.log import log
from raterhf.raters.disagreement import interval
from raterhf.raters.pairs import Comparisons
from raterhf.run import Run

RATERS, PAIRS = 100, 2000
DRAWS = 400


def audit_model(run: Run, kinds: list[Judged], prompts: dict[str, Prompt], seed: int) -> dict:
    """Flip rate, active dimensions and accuracy of a run's reward model, or `notes` that say why there are none.

    `prompts` are as the model reads them, by the text under which they stand in `kinds`.
    """
    compared = [data for data in kinds if isinstance(data.said, Comparisons)]
    if not compared:
        return {"notes": ["the run has no comparisons to score: the reward model is not looked at"]}
    data = compared[0]
    pool = run.raters
    if pool.encoding == "none":
        return {"notes": ["the reward model knows no raters (raters.encoding is none)"]}
    known = np.flatnonzero([str(rater) in pool.index for rater in data.raters])
    if len(known) < 2:
        return {"notes": [f"the reward model knows {len(known)} of the raters of its data, and two are needed to swap"]}
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x73636F]))
    drawn = np.sort(rng.permutation(known)[:RATERS])
    rows = np.flatnonzero(np.isin(data.said.rater, drawn) & (data.said.won != 0.5))
    said = data.said.rows(np.sort(rng.permutation(rows)[:PAIRS]))
    items = np.unique(np.concatenate([said.a, said.b]))
    asked = {int(i): (prompts[data.prompts[i]], str(data.texts[i])) for i in items}
    log.info(f"  reward model: {len(items)} things scored for {len(drawn)} of {len(known)} raters, drawn by the seed")
    try:
        table, unfit = run.score_where_possible(asked, [str(data.raters[r]) for r in drawn])
    except UserError as error:
        return {"notes": [f"the reward model is not looked at: {error}"]}
    said = said.rows(np.flatnonzero(~np.isin(said.a, [*unfit]) & ~np.isin(said.b, [*unfit])))
    place = {int(column): i for i, column in enumerate(table.columns)}
    sides = [np.array([place[int(i)] for i in side], np.int64) for side in (said.a, said.b)]
    found = figures(table.to_numpy(np.float64), *sides, np.searchsorted(drawn, said.rater), said.won, seed)
    notes = [f"{len(unfit)} of {len(items)} things do not fit the model and were not scored"] if unfit else []
    return found | {"raters": len(drawn), "of_raters": len(known), "things": table.shape[1], "notes": notes}


def figures(scores: np.ndarray, a: np.ndarray, b: np.ndarray, rater: np.ndarray, won: np.ndarray, seed: int) -> dict:
    """From scores [K, N] of two raters or more, decided comparisons [M] of columns a and b, whose they are and whether a won (1 or 0).

    `flips`: how often another of the raters turns round what is preferred. `own` and `another`: share of the comparisons that are right for
    whoever made them, and for somebody else in their place. Intervals are over raters drawn again. `active` and `effective` are counts of
    the directions of what raters' margins differ by.
    """
    margins = scores[:, a] - scores[:, b]  # [K, M]
    raters, count = len(scores), len(a)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x666C6970]))
    turned = np.stack([(np.sign(margins) != np.sign(np.roll(margins, step, 0))).mean(1) for step in range(1, raters)], 1).mean(1)
    right = (np.sign(margins) == np.where(won == 1, 1, -1)).astype(float)
    own = right[rater, np.arange(count)]
    another = (right.sum(0) - own) / (raters - 1)
    rows = np.bincount(rater, minlength=raters)
    sums = [np.bincount(rater, values, raters) for values in (own, another)]
    again = rng.integers(raters, size=(DRAWS, raters))
    again = again[rows[again].sum(1) > 0]
    apart = margins - margins.mean(0)
    power = np.linalg.svd(apart, compute_uv=False) ** 2
    share = power / max(power.sum(), 1e-12)
    return {
        "flips": _with(turned.mean(), turned[again].mean(1)),
        "own": _with(sums[0].sum() / count, sums[0][again].sum(1) / rows[again].sum(1)),
        "another": _with(sums[1].sum() / count, sums[1][again].sum(1) / rows[again].sum(1)),
        "active": int((share >= ACTIVE).sum()), "effective": round(float(1 / max((share**2).sum(), 1e-12)), 2),
    }  # fmt: skip


def _with(value: float, draws: np.ndarray) -> list[float]:
    return [round(float(value), 6), *interval(draws)[1:]]
