"""Raters kept for validation become known when training ends: inferred from their labels, as people are who come later.

No stage trains on them, and none draws from them when it is trained again: they stand in the pools as inferred. So do those whom
`raterhf adapt` added, who are put back here into a stage that was trained since.
"""

from collections.abc import Sequence
from pathlib import Path

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.newcomers import FittedRater, fit_raters, noise_of
from raterhf.engine.scorer import Scorer
from raterhf.log import log
from raterhf.models.checkpoint import load_pool, load_reward
from raterhf.models.pools import add_raters
from raterhf.raters.pool import RaterPool


def know_kept_back(run: Path, stages: Sequence[str], labels: Labels, conditioning: str, max_dropped: float) -> None:
    """Make the validation raters who compared something known to the `stages` of a run, whose rater vectors its stage reward learned.

    Each is inferred under the population of their group where it has one. Where the trunk reads the rater (`conditioning`) that would cost
    hundreds of passes, and they stay unknown. Of their comparisons a share `max_dropped` may be too long to read.
    """
    pool = load_pool(run / "reward")
    judged = set(labels.comparisons.rater_id)
    new = [one for one in prepare.find_people(labels).validate if one in judged and one not in pool.index]
    groups = {rater_id: group for rater_id, group in zip(labels.raters.rater_id, labels.raters.group) if group is not None}
    if new and conditioning != "head":
        log.info(
            f"  {len(new)} raters kept for validation stay unknown, since conditioning {conditioning} reads every text anew "
            "for each step of inferring them; `raterhf adapt` makes them known"
        )
        new = []
    known = [(one, pool.vectors[pool.index[one]], covariance, pool.groups.get(one)) for one, covariance in pool.covariances.items()]
    found = _infer(run / "reward", labels, pool, new, groups, max_dropped) if new else []
    people = known + [(one.id, one.mean, one.covariance, groups.get(one.id)) for one in found]
    if people and add_raters(run, [stage for stage in stages if stage != "base"], people) and found:
        log.info(f"  {len(found)} raters kept for validation are known now, inferred from their labels")


def _infer(
    folder: Path, labels: Labels, pool: RaterPool, ids: list[str], groups: dict[str, str], max_dropped: float
) -> list[FittedRater]:  # fmt: skip
    model, tokenizer, header = load_reward(folder)
    renderer = Renderer(tokenizer, header["max_length"])
    rows = labels.comparisons[labels.comparisons.rater_id.isin(ids)]
    fits = prepare.Window(renderer, max_dropped).keep("comparisons", rows, ["a", "b"], [""] * len(rows))
    left_out = labels.comparisons.index.isin(rows.index[~fits])
    scorer, noise, found = Scorer(model), noise_of(folder), []
    by_group: dict[str | None, list[str]] = {}
    for one in ids:
        by_group.setdefault(groups.get(one), []).append(one)
    for group, members in by_group.items():
        prior = pool.prior(group if f"group:{group}" in pool.populations else None)
        found += fit_raters(scorer, renderer, noise, labels, members, prior, left_out)
    return found
