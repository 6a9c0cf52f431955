"""Fictitious participants of a discussion beside its unseen people: who is asked what, and how the two are compared.

A fictitious participant is drawn from the population of one discussion (the rater's group) and asked the statements that most unseen
people of that discussion voted on. Each stands beside one real person and misses the same answers, so that missing votes tell nobody
apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.models.draw import ONCE, sample_keys, uniforms
from raterhf.raters.pool import Rater

UNSEEN = ("unseen_support", "unseen_query")
# Statements of a discussion that its people are compared on, and the share of them that a person must have voted on.
STATEMENTS = 12
MIN_SHARE = 0.6
# A discussion with fewer unseen people has no classifier of its own: five folds of a handful say nothing.
MIN_PEOPLE = 30
# Sets of fictitious people, as many in each as real ones; figures are means over the sets.
SETS = 5
# People of each kind whose votes the report shows.
SHOWN = 60


def option_log_probs(evaluated: RaterPolicy, prompts: Sequence[str], raters: Sequence[Rater], options: Sequence[str]) -> np.ndarray:
    """log P [N, K] of each option, EOS included, as the answer of each rater to their prompt; equal questions are asked once."""
    place: dict[tuple[str, str], int] = {}
    back = [place.setdefault((p, r.id), len(place)) for p, r in zip(prompts, raters)]
    by_id = {r.id: r for r in raters}
    unique, who = [p for p, _ in place], [by_id[i] for _, i in place]
    columns = [evaluated.log_probs([evaluated.renderer.example(p, o) for p in unique], who) for o in options]
    return np.stack(columns, 1)[back]


def renormalised(log_probs: np.ndarray) -> np.ndarray:
    """Distributions [N, K] over the options from their log-probabilities."""
    distribution = np.exp(log_probs - log_probs.max(1, keepdims=True))
    return distribution / distribution.sum(1, keepdims=True)


@dataclass(frozen=True)
class Discussion:
    """Unseen people of a discussion: `real` [R, Q] are their votes on `statements` (prompts), -1 where missing.

    `novel` [R, M] are those on statements that training never saw.
    """

    name: str
    statements: list[str]
    real: np.ndarray
    novel_statements: list[str]
    novel: np.ndarray


def gather(votes: pd.DataFrame, known: set[str], options: list[str]) -> list[Discussion]:
    """The discussions with enough unseen people, the largest first. `votes`: prompt, completion, rater_id, group."""
    code = {option: i for i, option in enumerate(options)}
    found = []
    for name, rows in votes[votes.completion.isin(code)].groupby("group"):
        table = rows.assign(vote=rows.completion.map(code)).pivot_table(index="rater_id", columns="prompt", values="vote", aggfunc="first")
        counts = table.notna().sum().sort_index().sort_values(ascending=False, kind="stable")
        asked = [p for p in counts.index if p in known][:STATEMENTS]
        people = table[table[asked].notna().sum(axis=1) >= MIN_SHARE * len(asked)]
        novel = [p for p in counts.index if p not in known and counts[p] >= MIN_PEOPLE][:STATEMENTS]
        if len(people) >= MIN_PEOPLE:
            found.append(Discussion(name, asked, _codes(people[asked]), novel, _codes(people[novel])))
    if not found:
        splits = " or ".join(UNSEEN)
        raise UserError(f"no discussion has {MIN_PEOPLE} people of split {splits} who voted on most of its {STATEMENTS} top statements")
    return sorted(found, key=lambda g: -len(g.real))


def _codes(table: pd.DataFrame) -> np.ndarray:
    return table.fillna(-1).to_numpy(dtype=np.int64)


def measure_discussion(evaluated: RaterPolicy, discussion: Discussion, options: list[str], seed: int) -> dict:
    """Fictitious participants, known ones and nobody in particular, beside the real people of one discussion."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x70656F70]))
    people = len(discussion.real)
    pool = evaluated.pool
    members = pool.resolve("all", 0, seed, group=discussion.name)
    order = np.concatenate([rng.permutation(np.arange(max(people, len(members))) % len(members))[:people] for _ in range(SETS)])
    asked_as = {
        "rater_new": pool.resolve("new", people * SETS, seed, group=discussion.name),
        "rater_known": [members[i] for i in order], "none": [pool.null()] * (people * SETS),
    }  # fmt: skip
    statements = discussion.statements + discussion.novel_statements
    found = {
        "real": {"mi": metrics.mean_over_pairs(metrics.mutual_information(discussion.real))}, "policies": {},
        "distributions": {"population": [_shares(votes, len(options)) for votes in discussion.real.T]},
        "votes": {"real": discussion.real[:SHOWN].tolist()},
    }  # fmt: skip
    for name, who in asked_as.items():
        asked = [(p, r) for r in who for p in statements]
        distributions = renormalised(option_log_probs(evaluated, [p for p, _ in asked], [r for _, r in asked], options))
        distributions = distributions.reshape(SETS, people, len(statements), len(options))
        q = len(discussion.statements)
        # Each stands beside one real person and misses the same votes.
        votes = draw_votes(distributions, vote_chances(evaluated, asked, seed).reshape(distributions.shape[:-1]))[:, :, :q]
        votes = np.where(discussion.real < 0, -1, votes)
        found["distributions"][name] = distributions[:, :, :q].mean((0, 1)).tolist()
        found["votes"][name] = votes[0, :SHOWN].tolist()
        found["policies"][name] = compare_with_real(distributions[:, :, :q], votes, discussion.real, rng, seed)
        if discussion.novel_statements:
            found["policies"][name]["tv_unrated"] = marginals(distributions[:, :, q:], discussion.novel, rng)[0].mean().item()
    return found


def _shares(votes: np.ndarray, n_options: int) -> list[float]:
    """Shares [K] of the options among those who voted."""
    return (np.bincount(votes[votes >= 0], minlength=n_options) / max(1, (votes >= 0).sum())).tolist()


def compare_with_real(
    distributions: np.ndarray, drawn: np.ndarray, real: np.ndarray, rng: np.random.Generator, seed: int
) -> dict[str, float]:  # fmt: skip
    """Figures of sets of people, by vote distributions [S, R, Q, K] and votes drawn from them [S, R, Q], against real votes [R, Q].

    Each stands beside one real person and misses the same votes (-1).
    """
    distance, floor = marginals(distributions, real, rng)
    mi = float(np.mean([metrics.mean_over_pairs(metrics.mutual_information(votes)) for votes in drawn]))
    scores = [metrics.c2st_scores(votes, real, seed) for votes in drawn]
    spans = [
        metrics.cluster_bootstrap(lambda r, _, s=s: metrics.auc(s[0][r], s[1][r]), len(real), None, rng, n=200) for s in scores
    ]  # fmt: skip
    real_mi = metrics.mean_over_pairs(metrics.mutual_information(real))
    return {
        "tv": float(distance.mean()), "etv": float((distance - floor).mean()), "mi": mi,
        "mi_ratio": mi / real_mi if real_mi > 0 else float("nan"), "c2st_auc": float(np.mean([metrics.auc(*s) for s in scores])),
        "c2st_low": float(np.mean([low for low, _ in spans])), "c2st_high": float(np.mean([high for _, high in spans])),
        "joint_tv": float(np.mean([metrics.joint_tv_to_raters(votes, real, rng, 20) for votes in drawn])),
    }  # fmt: skip


def marginals(distributions: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """tv [Q] between the real votes [R, Q] and the mean distribution [S, R, Q, K] of those who voted.

    And its floor [Q]: the mean tv of as many votes drawn from that distribution.
    """
    distance, floor = [], []
    for i, votes in enumerate(real.T):
        voted = votes >= 0
        distribution = distributions[:, voted, i].mean((0, 1))
        observed = np.bincount(votes[voted], minlength=len(distribution)) / voted.sum()
        distance.append(metrics.tv(observed, distribution))
        floor.append(metrics.tv_floor(distribution, None, int(voted.sum()), rng, 500))
    return np.array(distance), np.array(floor)


def draw_votes(distributions: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """One vote [...] from each distribution [..., K], by uniform numbers [...] within (0, 1)."""
    return np.minimum((distributions.cumsum(-1) < chances[..., None]).sum(-1), distributions.shape[-1] - 1)


def vote_chances(evaluated: RaterPolicy, asked: Sequence[tuple[str, Rater]], seed: int) -> np.ndarray:
    """Uniform numbers [N] by which raters vote on statements: the same whoever else is asked what."""
    prompts = [evaluated.renderer.prompt(prompt, rater.text) for prompt, rater in asked]
    return uniforms(sample_keys(seed, prompts, [rater.id for _, rater in asked]), ONCE, 1)[:, 0].numpy()


def summarise(discussions: list[Discussion], measured: list[dict]) -> dict[str, dict[str, float]]:
    """Means over discussions, weighted by their people."""
    found: dict[str, dict[str, float]] = {}
    for name in measured[0]["policies"]:
        rows = [j["policies"][name] for j in measured]
        found[name] = {key: mean_over_people([row.get(key, np.nan) for row in rows], discussions) for key in rows[0]}
    return found


def mean_over_people(values: list[float], discussions: list[Discussion]) -> float:
    weights = np.array([len(g.real) for g in discussions], float)
    there = np.isfinite(values)
    return float(np.average(np.array(values)[there], weights=weights[there])) if there.any() else float("nan")
