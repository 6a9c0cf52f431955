"""Juries: what several raters together think of the completions of one prompt, and how sure that is.

Only differences between a rater's scores mean something, so everything here reads a juror's scores of one prompt's completions against
each other: the *margin* over the mean of the prompt's completions, and the *chance* of being preferred, under the juror's Bradley-Terry
noise, to another completion that is drawn at random.

    mean          mean margin                        min           least margin: that of the juror who likes it least
    majority      share of the other completions     quantile:Q    the margin that a share Q of the jurors is at or below
                  that more jurors prefer it to      nash          geometric mean of the chance: nobody is left at zero
    borda         share of the other completions that a juror ranks below it, mean over jurors

Ties count one half. A juror may have a weight: one of 2 counts as two jurors of the same mind, one of 0 as none. Jurors drawn again
(bootstrap, within each seat's kind) give the interval of the verdict, and how often a completion wins.

Notation: K jurors, N completions of one prompt, B weightings of the jurors.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_expit, logsumexp

from raterhf.data.files import read_rows
from raterhf.data.numbers import read_numbers
from raterhf.errors import UserError
from raterhf.raters.pool import RaterPool

RULES = ("mean", "majority", "borda", "min", "nash")
REDRAWS = 1000
MOST_SEATS = 10_000


@dataclass(frozen=True)
class Verdict:
    """A rule by its name; `share` is that of `quantile`."""

    rule: str
    share: float = 0.0


@dataclass(frozen=True)
class Seats:
    """SPECs of jurors, and the kind of seat [K] that each has."""

    specs: list[str]
    kinds: list[str]


def read_verdict(text: str) -> Verdict:
    """Raises UserError for what is no rule."""
    if text in RULES:
        return Verdict(text)
    if found := re.fullmatch(r"quantile:(0?\.[0-9]+)", text):
        if (share := float(found[1])) > 0:
            return Verdict("quantile", share)
    raise UserError(f"verdict {text!r} is none of {', '.join(RULES)} and quantile:Q with Q between 0 and 1, such as quantile:.1; give one")


def read_seats(text: str, pool: RaterPool, seed: int) -> Seats:
    """Jurors by seats, `group=UK:3,US:3` or `persona=NAME:2,...`: fresh fictitious members of each.

    Raises UserError for another form, a name that is there twice, a seat for nobody, and a group or persona that nobody can be drawn from.
    """
    form = f"seats {text!r}"
    kind, equals, listed = text.partition("=")
    if kind not in ("group", "persona") or not equals:
        raise UserError(f"{form}: write group=NAME:SEATS,... or persona=NAME:SEATS,..., such as group=UK:3,US:3")
    counts: dict[str, int] = {}
    for part in listed.split(","):
        name, colon, number = part.rpartition(":")
        if not (name and colon and re.fullmatch("[1-9][0-9]{0,5}", number)):
            raise UserError(f"{form}: {part!r} is no NAME:SEATS with at least one seat, such as UK:3")
        if name in counts:
            raise UserError(f"{form}: {name!r} is there twice; add its seats up")
        counts[name] = int(number)
    if sum(counts.values()) > MOST_SEATS:
        raise UserError(f"{form} are {sum(counts.values())} jurors; give at most {MOST_SEATS}")
    place = "" if kind == "group" else "persona:"
    specs, kinds = [], []
    for name, count in counts.items():
        pool.check_spec(f"new:0@{place}{name}")
        specs += [f"new:{number}@{place}{name}" for number in pool.fresh_numbers(count, seed)]
        kinds += [name] * count
    return Seats(specs, kinds)


def read_weights(path: Path, jurors: Sequence[str], kinds: Sequence[str]) -> np.ndarray:
    """What each juror [K] weighs, by a file of `rater, weight`, of which `rater` is a juror's ID or the name of their seats.

    An ID goes before a seat's name. Raises UserError for a juror without a weight, a weight that is no number from 0 on, a name that is
    there twice or that is nobody's, and where all weigh nothing.
    """
    frame = read_rows(str(path)).frame
    if missing := [name for name in ("rater", "weight") if name not in frame]:
        raise UserError(f"{path}: no column {', '.join(missing)}; weights are rows of rater, weight; it has {', '.join(map(str, frame))}")
    numbers, faults = read_numbers(frame["weight"])
    faults |= dict.fromkeys(np.flatnonzero(numbers < 0).tolist(), "is below 0; a juror who does not count has 0")
    if faults:
        row, fault = min(faults.items())
        raise UserError(f"{path}, row {row + 1}: weight {frame['weight'].iloc[row]!r} {fault}")
    names = frame["rater"].map(str)
    if (twice := names.duplicated()).any():
        raise UserError(f"{path}, row {twice.argmax() + 1}: {names[twice.argmax()]!r} has a weight before this one; keep one of them")
    weight = dict(zip(names, numbers))
    if strangers := [name for name in names if name not in {*jurors, *kinds}]:
        raise UserError(f"{path}: {strangers[0]!r} is no juror and no seat of this jury ({len(strangers)} such rows); remove or correct it")
    if without := [one for one, kind in zip(jurors, kinds) if one not in weight and kind not in weight]:
        raise UserError(f"{path}: juror {without[0]!r} has no weight ({len(without)} such jurors); add a row for each, or for their seats")
    found = np.array([weight.get(one, weight.get(kind, 0.0)) for one, kind in zip(jurors, kinds)])
    if not found.any():
        raise UserError(f"{path}: every juror weighs 0, and a jury of nobody decides nothing; give one a weight above 0")
    return found


def chances(scores: np.ndarray) -> np.ndarray:
    """Log of each juror's chance [K, N] of preferring a completion to another one that is drawn at random."""
    others = scores.shape[1] - 1
    each = log_expit(scores[:, :, None] - scores[:, None, :])
    each[:, np.arange(others + 1), np.arange(others + 1)] = -np.inf
    return logsumexp(each, 2) - np.log(others)


def welfare(scores: np.ndarray, verdict: Verdict, weights: np.ndarray) -> np.ndarray:
    """The verdict on each completion [B, N] for scores [K, N] of two completions or more, the more the better; weights [B, K] of jurors."""
    share = weights / weights.sum(1, keepdims=True)
    margins = scores - scores.mean(1, keepdims=True)
    others = scores.shape[1] - 1
    if verdict.rule == "mean":
        return share @ margins
    if verdict.rule == "borda":
        return share @ ((np.sign(scores[:, :, None] - scores[:, None, :]).sum(2) / others + 1) / 2)
    if verdict.rule == "majority":
        ahead = np.stack([share @ np.sign(margins[:, [one]] - margins) for one in range(others + 1)], 1)  # [B, N, N]
        return (np.where(np.abs(ahead) < 1e-12, 0, np.sign(ahead)).sum(2) / others + 1) / 2
    if verdict.rule == "nash":
        return np.exp(share @ chances(scores))
    if verdict.rule == "min":
        return np.stack([np.where(weights > 0, column, np.inf).min(1) for column in margins.T], 1)
    found = []
    for column in margins.T:
        order = np.argsort(column)
        reached = np.cumsum(share[:, order], 1) >= verdict.share - 1e-12
        found.append(column[order][reached.argmax(1)])
    return np.stack(found, 1)


def favourites(scores: np.ndarray) -> np.ndarray:
    """Each juror's vote for their favourite [K, N], divided among those that are equally good."""
    best = scores == scores.max(1, keepdims=True)
    return best / best.sum(1, keepdims=True)


def judge(scores: np.ndarray, verdict: Verdict, kinds: Sequence[str], seed: int, weights: np.ndarray | None = None) -> pd.DataFrame:
    """A row for each of the N completions of one prompt, scores being [K, N].

    `verdict` with `low` and `high` (95 % of juries drawn again) and `wins` (share of those in which it is the best, ties divided); `mean`
    and `spread` (standard deviation) of the jurors' margins; `preferred`, the share of jurors whose favourite it is; and whether it is
    `chosen` (the best, all of them where they tie), `divisive` (the largest spread), `safest` (the highest least margin). `kinds` [K] are
    seats: juries drawn again have as many of each. Jurors have `weights` [K], 1 where not given; whoever weighs 0 is asked nothing.
    """
    if not len(scores):
        raise UserError("a jury of nobody decides nothing; name at least one juror")
    if scores.shape[1] < 2:
        raise UserError("a verdict compares completions, and this prompt has one; add others to the file, or leave out --verdict")
    weights = np.ones(len(scores)) if weights is None else weights
    counted = np.flatnonzero(weights > 0)
    scores, weights, kinds = scores[counted], weights[counted], [kinds[i] for i in counted.tolist()]
    rng, kind = np.random.default_rng(np.random.SeedSequence([seed, 0x6A757279])), np.unique(list(kinds), return_inverse=True)[1]
    drawn = np.zeros((REDRAWS, len(scores)))
    for members in (np.flatnonzero(kind == one) for one in range(kind.max() + 1)):
        drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), REDRAWS)
    value = welfare(scores, verdict, weights[None])[0]
    again = welfare(scores, verdict, drawn * weights)
    low, high = np.quantile(again, [0.025, 0.975], 0)
    margins, share = scores - scores.mean(1, keepdims=True), weights / weights.sum()
    spread, least = np.sqrt(share @ (margins - share @ margins) ** 2), margins.min(0)
    return pd.DataFrame(
        {
            "verdict": value, "low": low, "high": high, "wins": favourites(again).mean(0), "mean": share @ margins, "spread": spread,
            "preferred": share @ favourites(scores), "chosen": np.isclose(value, value.max()), "divisive": np.isclose(spread, spread.max()),
            "safest": np.isclose(least, least.max()),
        }
    )  # fmt: skip


def judge_prompts(
    table: pd.DataFrame, prompts: dict[int, str], verdict: Verdict, kinds: Sequence[str], seed: int, weights: np.ndarray | None = None
) -> pd.DataFrame:  # fmt: skip
    """`judge` of each prompt's completions: scores with a row for each juror and a column for each numbered completion, whose prompts are
    `prompts`; a row for each completion, in the table's order. Raises UserError where a prompt has one completion."""
    by_prompt: dict[str, list[int]] = {}
    for row in map(int, table.columns):
        by_prompt.setdefault(prompts[row], []).append(row)
    if lonely := [rows[0] for rows in by_prompt.values() if len(rows) < 2]:
        raise UserError(
            f"row {lonely[0]} has the only completion of its prompt, and a verdict compares completions ({len(lonely)} such rows); add "
            "others to the file, or leave out --verdict"
        )
    parts = [judge(table[rows].to_numpy(np.float64), verdict, kinds, seed, weights).set_axis(rows) for rows in by_prompt.values()]
    return pd.concat(parts).loc[list(table.columns)].rename_axis("row")
