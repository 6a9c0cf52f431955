"""`raterhf personas`: kinds of known raters by what the reward model says they like, what each likes, and which are safest and surest.

Raters are clustered by their scores of the texts of the run's data, each against the mean of its prompt (k-means on their main directions;
the number of clusters has the best silhouette of those whose clusters are large enough to draw fictitious raters from), or put together by
what a column says of them. Either becomes a persona of the run where that is asked for: its population is fitted to its members' vectors as
those of training are.

Notation: K raters, N texts, P prompts, C clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.data.files import read_rows
from raterhf.data.ids import tidy_ids
from raterhf.data.normalise import keys, optional_names
from raterhf.data.prepare import read_data
from raterhf.data.requests import Prompt
from raterhf.errors import UserError
from raterhf.lock import hold_run
from raterhf.log import log
from raterhf.models.pools import add_personas
from raterhf.raters.population import MIN_MEMBERS
from raterhf.recipe import Recipe
from raterhf.run import Run

TEXTS = 600  # scored, of whole prompts that the seed draws
DIRECTIONS = 8  # of what raters differ in, by which they are clustered
MOST = 8  # clusters
SHOWN = 3  # texts of each end
REDRAWS = 400


@dataclass(frozen=True)
class Texts:
    """N texts of P prompts of two texts or more: `prompts` [N] as the model reads them, `answers` [N], `group` [N] from 0."""

    prompts: list[Prompt]
    answers: list[str]
    group: np.ndarray


def find_personas(run: Run, recipe: Recipe, clusters: int | None, seed: int, named: dict[str, list[str]] | None = None) -> dict:
    """Clusters of the run's known raters, JSON-like: `personas` with members, likes, dislikes, `contested` and `reliable`, the last two as
    [value, low, high]; `silhouette` of each number of clusters tried; and the names of the `least_contested` and the `most_reliable` one.
    With `named`, members by name, these sets are told of in place of clusters, and no other raters are read.

    `contested`: how often a rater of another persona likes the persona's favourite of a prompt less than the average text there.
    `reliable`: the share of its members' comparisons that the mean member's score is right about. Raises UserError for a run that knows no
    vectors, too few raters or texts, and more clusters than there are raters for.
    """
    require_vectors(run)
    pool = run.raters
    if named is None:
        _enough(run, clusters)
    ids = list(pool.known) if named is None else [rater_id for members in named.values() for rater_id in members]
    rows = read_data(recipe).comparisons
    texts = texts_of(rows, seed)
    table = run.score(list(zip(texts.prompts, texts.answers)), ids)
    margins = centred(table.to_numpy(np.float64), texts.group)
    if named is None:
        member, silhouettes = cluster(margins, clusters, seed)
        names = [f"kind-{one + 1}" for one in range(int(member.max()) + 1)]
    else:
        member, silhouettes, names = np.repeat(np.arange(len(named)), [len(one) for one in named.values()]), {}, list(named)
    found = [_persona(margins, texts, member, one) for one in range(len(names))]
    reliable = _reliable(table, texts, rows, ids, member, seed)
    for one, name in enumerate(names):
        members = [ids[i] for i in np.flatnonzero(member == one)]
        contested = contested_by(margins, texts.group, member, one, seed)
        found[one] |= {"name": name, "members": members, "contested": contested, "reliable": reliable[one]}
    safest = min(found, key=lambda one: one["contested"][0])["name"]
    surest = max(found, key=lambda one: one["reliable"][0] if one["reliable"] else -1.0)["name"]
    return {
        "raters": len(ids), "texts": len(texts.answers), "silhouette": silhouettes, "least_contested": safest,
        "most_reliable": surest, "personas": found,
    }  # fmt: skip


def require_vectors(run: Run) -> None:
    """Raise UserError for a run that does not know raters by vectors."""
    if run.raters.encoding != "embedding":
        raise UserError(
            f"{run.folder} knows raters by {run.raters.encoding}, and personas need vectors; raters.encoding=embedding has them"
        )


def _enough(run: Run, clusters: int | None) -> None:
    """Raise UserError where a run's raters are too few for clusters, or for so many."""
    known = len(run.raters.known)
    most = known // MIN_MEMBERS
    if most < 2 or clusters is not None and clusters > most:
        remedy = f"give at most {most}" if most > 1 else "train with more raters"
        raise UserError(f"{run.folder} has {known} known raters, too few for {clusters or 2} clusters of {MIN_MEMBERS}; {remedy}")


def members_by(column: str, known: Sequence[str], files: Sequence[str], rater_column: str) -> dict[str, list[str]]:
    """Known raters by what `column` of the files says of them, the most members first. Files without the column, raters of whom it says
    nothing and values of too few raters are left out, which is said.

    Raises UserError as `said_of`, and where fewer than two values have members enough.
    """
    said = said_of(column, files, rater_column)
    members: dict[str, list[str]] = {}
    for rater_id in known:
        if rater_id in said:
            members.setdefault(said[rater_id], []).append(rater_id)
    found = {value: ids for value, ids in sorted(members.items(), key=lambda pair: -len(pair[1])) if len(ids) >= MIN_MEMBERS}
    few = ", ".join(f"{value} ({len(ids)})" for value, ids in sorted(members.items()) if value not in found)
    if len(found) < 2:
        raise UserError(
            f"{column}: {len(found)} value(s) have {MIN_MEMBERS} known raters or more, and two are needed to be told apart "
            f"(fewer: {few or 'none'}); name another column"
        )
    if few:
        log.warning(f"  {column}: too few raters ({MIN_MEMBERS} are needed), and so no persona: {few}")
    if silent := [rater_id for rater_id in known if rater_id not in said]:
        log.info(f"  {column}: nothing is said of {len(silent)} of {len(known)} known raters, such as {silent[0]!r}")
    return found


def said_of(column: str, files: Sequence[str], rater_column: str) -> dict[str, str]:
    """What `column` says of raters, by ID. Raises UserError where no file has the column, and where it says two things of a rater."""
    said: dict[str, str] = {}
    there, columns = False, {}
    for path in files:
        frame = read_rows(path).frame
        columns[path] = ", ".join(map(str, frame.columns))
        if column not in frame or rater_column not in frame:
            continue
        there = True
        for rater_id, value in zip(tidy_ids(frame[rater_column]), optional_names(frame[column])):
            if value is None:
                continue
            if said.setdefault(str(rater_id), value) != value:
                first = said[str(rater_id)]
                raise UserError(
                    f"{path}: rater {rater_id!r} has {column} {first!r} and {value!r}; a rater is in one persona: correct one of them"
                )
    if not there:
        seen = "; ".join(f"{path} has {names}" for path, names in columns.items())
        raise UserError(f"no file has the columns {rater_column} and {column}: {seen}; name one of these columns, or a file with --file")
    return said


def save_personas(run: Path, found: dict, seed: int) -> list[Path]:
    """Make what `find_personas` found personas of the run's stages; returns their folders."""
    with hold_run(run):
        return add_personas(run, {one["name"]: one["members"] for one in found["personas"]}, seed)


def texts_of(rows: pd.DataFrame, seed: int) -> Texts:
    """The different texts of comparisons, of prompts that have two or more; of many, whole prompts that are drawn."""
    by_prompt: dict[str, tuple[Prompt, dict[str, None]]] = {}
    for key, prompt, a, b in zip(keys(rows.prompt), rows.prompt, rows.a, rows.b):
        by_prompt.setdefault(key, (prompt, {}))[1].update({a: None, b: None})
    listed = [(prompt, list(answers)) for prompt, answers in by_prompt.values() if len(answers) > 1]
    if not listed:
        raise UserError("the run's data have no comparisons, so there are no texts to tell personas by; add some")
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x706572])).permutation(len(listed))
    total = np.cumsum([len(listed[i][1]) for i in order])
    taken = sorted(order[: max(1, int((total <= TEXTS).sum()))])
    if len(taken) < len(listed):
        log.info(f"  texts of {len(taken)} of {len(listed)} prompts are read, drawn by the seed")
    prompts = [listed[i][0] for i in taken for _ in listed[i][1]]
    answers = [answer for i in taken for answer in listed[i][1]]
    return Texts(prompts, answers, np.repeat(np.arange(len(taken)), [len(listed[i][1]) for i in taken]))


def centred(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Scores [K, N] less each rater's mean of the prompt."""
    count = np.bincount(group)
    means = np.stack([np.bincount(group, one) for one in scores]) / count
    return scores - means[:, group]


def cluster(margins: np.ndarray, clusters: int | None, seed: int) -> tuple[np.ndarray, dict[int, float]]:
    """The cluster [K] of each rater, the largest first, and the silhouette of each number of clusters tried.

    Raises UserError where no number of them gives clusters that are large enough.
    """
    from sklearn.cluster import KMeans  # slow to import, and only this needs it
    from sklearn.metrics import silhouette_score

    apart = margins - margins.mean(0)
    left, width, _ = np.linalg.svd(apart, full_matrices=False)
    at = (left * width)[:, :DIRECTIONS]
    tried, members = {}, {}
    for number in [clusters] if clusters else range(2, min(MOST, len(margins) // MIN_MEMBERS) + 1):
        found = KMeans(number, n_init=10, random_state=seed).fit_predict(at)
        sizes = np.bincount(found, minlength=number)
        if sizes.min() < MIN_MEMBERS:
            log.info(f"  {number} clusters: the smallest has {sizes.min()} raters, fewer than {MIN_MEMBERS}")
            continue
        tried[number] = round(float(silhouette_score(at, found)), 4)
        members[number] = np.argsort(np.argsort(-sizes, kind="stable"))[found]
    if not tried:
        asked = f" with --clusters {clusters}" if clusters else ""
        raise UserError(
            f"no clusters of {MIN_MEMBERS} raters or more are found{asked}: a few are far from the others; give another --clusters"
        )
    return members[max(tried, key=lambda number: tried[number])], tried


def _persona(margins: np.ndarray, texts: Texts, member: np.ndarray, one: int) -> dict:
    """What a cluster likes better and worse than the others do, and how much: means of margins."""
    own, others = margins[member == one].mean(0), margins[member != one].mean(0)
    order = np.argsort(own - others, kind="stable")

    def told(rows: Sequence[int]) -> list[dict]:
        return [
            {
                "prompt": texts.prompts[i], "text": texts.answers[i], "margin": round(float(own[i]), 4),
                "others": round(float(others[i]), 4),
            }
            for i in rows
        ]  # fmt: skip

    return {"likes": told(order[::-1][:SHOWN]), "dislikes": told(order[:SHOWN])}


def contested_by(margins: np.ndarray, group: np.ndarray, member: np.ndarray, one: int, seed: int) -> list[float]:
    """How often a rater of another cluster likes the favourite of cluster `one` less than the average text of its prompt.

    Mean over prompts; the interval is over those raters drawn again.
    """
    own = margins[member == one].mean(0)
    favourites = [int(rows[own[rows].argmax()]) for rows in np.split(np.arange(len(group)), np.flatnonzero(np.diff(group)) + 1)]
    against = (margins[member != one][:, favourites] < 0).mean(1)
    return _over(against, np.ones(len(against)), seed)


def _reliable(table: pd.DataFrame, texts: Texts, rows: pd.DataFrame, ids: list[str], member: np.ndarray, seed: int) -> list[list[float]]:
    """For each cluster, how often its mean score is right about decided comparisons of its members; the interval is over members."""
    prompt_of = {key: number for number, key in enumerate(dict.fromkeys(str(prompt) for prompt in texts.prompts))}
    place = {(prompt_of[str(prompt)], answer): i for i, (prompt, answer) in enumerate(zip(texts.prompts, texts.answers))}
    index = {rater_id: i for i, rater_id in enumerate(ids)}
    scores = table.to_numpy(np.float64)
    mean = np.stack([scores[member == one].mean(0) for one in range(int(member.max()) + 1)])
    right, count = np.zeros(len(ids)), np.zeros(len(ids))
    for prompt, a, b, label, rater_id in zip(rows.prompt, rows.a, rows.b, rows.label, rows.rater_id):
        number = prompt_of.get(str(prompt))
        if label == 0 or number is None or rater_id not in index or (number, a) not in place:
            continue
        who = index[rater_id]
        gap = mean[member[who], place[number, a]] - mean[member[who], place[number, b]]
        right[who] += (1 + np.sign(gap) * label) / 2
        count[who] += 1
    return [_over(right[member == one], count[member == one], seed) for one in range(len(mean))]


def _over(sums: np.ndarray, count: np.ndarray, seed: int) -> list[float]:
    """sum(sums) / sum(count) with the 95 % interval over rows drawn again; nothing where there are none."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6F766572]))
    if not count.sum():
        return []
    drawn = rng.integers(len(sums), size=(REDRAWS, len(sums)))
    drawn = drawn[count[drawn].sum(1) > 0]
    low, high = np.quantile(sums[drawn].sum(1) / count[drawn].sum(1), [0.025, 0.975])
    return [round(float(value), 4) for value in (sums.sum() / count.sum(), low, high)]
