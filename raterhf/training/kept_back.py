"""Raters kept for validation become known when training ends: inferred from their labels, as people are who come later.

No stage trains on them, and none draws from them when it is trained again: they stand in the pools as inferred. So do those whom
`raterhf adapt` added, who are put back here into a stage that was trained since.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.newcomers import FittedRater, fit_by_answers, fit_raters, noise_of
from raterhf.engine.scorer import Scorer
from raterhf.log import log
from raterhf.models.checkpoint import load_pool, load_reward
from raterhf.models.pools import add_raters
from raterhf.raters.files import ANSWERS, load_answer_model
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population


def know_kept_back(run: Path, stages: Sequence[str], labels: Labels, conditioning: str | None, max_dropped: float) -> None:
    """Make the validation raters known to the `stages` of a run: those who compared something, whose stage reward learned rater vectors, or
    without one (`conditioning` None) those who answered, where raters are known by their answers.

    Each is inferred under the population of their group where it has one. Where the trunk reads the rater (`conditioning`) that would cost
    hundreds of passes, and they stay unknown. Of their comparisons a share `max_dropped` may be too long to read.
    """
    spoken = conditioning is None
    home, rows = (run / "sft", labels.demonstrations) if spoken else (run / "reward", labels.comparisons)
    if spoken and not (home / ANSWERS).is_file():
        return
    pool, said = load_pool(home), set(rows.rater_id)
    new = [one for one in prepare.find_people(labels).validate if one in said and one not in pool.index]
    groups = {rater_id: group for rater_id, group in zip(labels.raters.rater_id, labels.raters.group) if group is not None}
    if new and not spoken and conditioning != "head":
        log.info(
            f"  {len(new)} raters kept for validation stay unknown, since conditioning {conditioning} reads every text anew "
            "for each step of inferring them; `raterhf adapt` makes them known"
        )
        new = []
    known = [(one, pool.vectors[pool.index[one]], covariance, pool.groups.get(one)) for one, covariance in pool.covariances.items()]
    found: list[FittedRater] = []
    if new:
        fit = _by_answers(home, labels) if spoken else _by_comparisons(home, labels, new, max_dropped)
        found = _infer(fit, pool, new, groups)
    people = known + [(one.id, one.mean, one.covariance, groups.get(one.id)) for one in found]
    if people and add_raters(run, [stage for stage in stages if stage != "base"], people) and found:
        log.info(f"  {len(found)} raters kept for validation are known now, inferred from their labels")


Fit = Callable[[list[str], Population], list[FittedRater]]


def _by_answers(folder: Path, labels: Labels) -> Fit:
    known = load_answer_model(folder)
    return lambda members, prior: fit_by_answers(*known, labels, members, prior)


def _by_comparisons(folder: Path, labels: Labels, ids: list[str], max_dropped: float) -> Fit:
    model, tokenizer, header = load_reward(folder)
    renderer = Renderer(tokenizer, header["max_length"])
    rows = labels.comparisons[labels.comparisons.rater_id.isin(ids)]
    fits = prepare.Window(renderer, max_dropped).keep("comparisons", rows, ["a", "b"], [""] * len(rows))
    left_out = labels.comparisons.index.isin(rows.index[~fits])
    scorer, noise = Scorer(model), noise_of(folder)
    return lambda members, prior: fit_raters(scorer, renderer, noise, labels, members, prior, left_out)


def _infer(fit: Fit, pool: RaterPool, ids: list[str], groups: dict[str, str]) -> list[FittedRater]:
    """People, each under the population of their group where it has one."""
    by_group: dict[str | None, list[str]] = {}
    for one in ids:
        by_group.setdefault(groups.get(one), []).append(one)
    priors = {group: pool.prior(group if f"group:{group}" in pool.populations else None) for group in by_group}
    return [found for group, members in by_group.items() for found in fit(members, priors[group])]
