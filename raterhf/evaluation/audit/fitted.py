"""The model by which an audit tells taste from care, habit and chance, or the reason why there is none.

A part of each rater's labels is kept back, and of several models that is fitted to all which tells them best: without tastes where these
tell nothing, with as few as tell all. Nothing is read of texts but their length.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from raterhf.evaluation import metrics
from raterhf.evaluation.audit.judged import Judged
from raterhf.raters.disagreement import PairVoices, RatingVoices, voices_of_pairs, voices_of_ratings
from raterhf.raters.items import Ratings, fit_items, infer_tastes, log_likelihood
from raterhf.raters.pairs import Comparisons, fit_pairs, infer_people, kept_apart, margins

TASTES, FEWER = 8, (1, 2, 4)  # with the most the prior is chosen, with that prior how many there are
RANK, LOWER = 24, (2, 4, 8)  # of ratings' factors
STEADY = (np.inf, 10.0)  # candidates of how alike raters are in care
PRECISIONS = (10.0, 40.0, 160.0)  # candidates of the loadings' prior
KEPT = 0.2  # of the items of a rater, by which the model is chosen
FEWEST = 4  # raters that make a population
LEAST = 30  # labels kept back, to choose by
STEPS = 12  # of a trial's fit, which is of a part and compared with others of as many
MOST_ITEMS = 4000  # connected by comparisons


@dataclass(frozen=True)
class Fitted:
    """Raters as posteriors; `trials` are the candidates with the nats of a label kept back, the best first."""

    voices: PairVoices | RatingVoices
    trials: list[dict]


def why_not(data: Judged) -> str:
    """Why nothing can be said of taste, in a sentence; empty where it can be tried."""
    raters, met = len(data.raters), data.met()
    if raters == 1:
        return f"{data.raters[0]!r} gave all labels, and one rater disagrees with nobody: add another rater's labels"
    if len(met) == 1 or isinstance(data.said, Comparisons) and len(met) == 2:
        what = "one thing was rated" if len(met) == 1 else "one pair was judged"
        return f"{what}, and taste is what hangs together over several: add labels of other things"
    if (met > 1).sum() < 2:
        return "no two raters judged the same things, so nothing tells whether they disagree: have some things judged by several"
    if raters < FEWEST:
        return f"{raters} raters are too few to say what is usual ({FEWEST} are enough): what they said of the same things is all there is"
    return ""


def fit(data: Judged, seed: int) -> Fitted | str:
    """A model, or why there is none."""
    if reason := why_not(data):
        return reason
    return _fit_ratings(data, data.said, seed) if isinstance(data.said, Ratings) else _fit_comparisons(data, data.decided(), seed)


def _fit_comparisons(data: Judged, rows: Comparisons, seed: int) -> Fitted | str:
    raters, items = len(data.raters), len(data.texts)
    block = connected_components(csr_matrix((np.ones(len(rows)), (rows.a, rows.b)), shape=(items, items)), directed=False)[1]
    if (largest := np.bincount(block).max()) > MOST_ITEMS:
        return f"{largest} answers are connected by comparisons, and {MOST_ITEMS} are the most: give fewer prompts or answers"
    part, held = kept_apart(rows, items, KEPT, seed, whole=True)
    if len(held) < LEAST:
        return _too_few(len(held))

    def trial(tastes: int, precision: float, care: bool = True) -> dict:
        model = fit_pairs(part, raters, items, tastes, precision, care, STEPS, seed)
        told = np.where(held.won == 1, 1, -1) * margins(model, infer_people(model, part, raters), held)
        nats = -float(metrics.nll(told, np.ones(len(told), np.int64)))
        return {"tastes": tastes, "precision": precision, "care": care, "nats": round(nats, 4)}

    trials = [trial(TASTES, precision) for precision in PRECISIONS]
    chosen = max(trials, key=_nats)["precision"]
    trials += [trial(0, 10.0, False), trial(0, 10.0), *(trial(tastes, chosen) for tastes in FEWER if tastes < TASTES)]
    trials.sort(key=_nats, reverse=True)
    best = trials[0]
    model = fit_pairs(rows, raters, items, best["tastes"], best["precision"], best["care"], seed=seed)
    return Fitted(voices_of_pairs(model, rows, raters), trials)


def _fit_ratings(data: Judged, ratings: Ratings, seed: int) -> Fitted | str:
    raters, items = len(data.raters), len(data.texts)
    kept = np.random.default_rng(np.random.SeedSequence([seed, 0x6B657074])).random(len(ratings)) < KEPT
    part, held = ratings.rows(np.flatnonzero(~kept)), ratings.rows(np.flatnonzero(kept))
    if len(held) < LEAST:
        return _too_few(len(held))

    def trial(rank: int, nu: float) -> dict:
        model = fit_items(part, raters, items, rank, nu, STEPS, seed)
        nats = log_likelihood(model, infer_tastes(model, part, raters), held)
        return {"tastes": rank, "nu": nu if np.isfinite(nu) else None, "nats": round(nats, 4)}

    trials = [trial(RANK, nu) for nu in STEADY]
    chosen = max(trials, key=_nats)["nu"] or np.inf
    trials += [*(trial(1, nu) for nu in STEADY), *(trial(rank, chosen) for rank in LOWER if rank < RANK)]
    trials.sort(key=_nats, reverse=True)
    best = trials[0]
    model = fit_items(ratings, raters, items, best["tastes"], best["nu"] or np.inf, seed=seed)
    return Fitted(voices_of_ratings(model, ratings, raters), trials)


def _nats(trial: dict) -> float:
    return trial["nats"]


def _too_few(held: int) -> str:
    return f"{held} labels can be kept back to tell taste from chance by, and {LEAST} are needed: collect more labels of each rater"
