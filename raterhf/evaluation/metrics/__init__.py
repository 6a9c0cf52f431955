"""The figures of metrics.json, in one place to import from; each is a pure function in the file named here.

    marginal.py      tv, etv, entropy_ratio, coverage_ratio, gamma        do samples span what people say?
    coherence.py     mi_ratio, joint_tv, kappa_taste, kappa_dice          is one rater one person?
    two_samples.py   c2st_auc, copying                                    like fresh people, and not copies?
    told.py          own_ratings, effective, top_mass                     are people told what they like, and not all the same?
    authors.py       triples, pair_features, nearest                      is a person somebody, and nobody known before?
    writing.py       style, habits                                        how is a text written?
    quality.py       accuracy, nll, ece, flip_rate, worst decile, skill   does it know its raters?
    frontier.py      on_front, at_gold                                    is anything better, and what is had at equal quality?
    intervals.py     bootstrap, seeds, sweeps at equal gold reward        how sure is it?

Answers are class indices, -1 invalid. A figure that does not exist is nan here and null in the file.
"""

from raterhf.evaluation.metrics.coherence import (
    fleiss_kappa,
    fleiss_kappas,
    joint_tv,
    joint_tv_to_raters,
    mean_over_pairs,
    mi_ratio,
    mutual_information,
    pair_tv,
    pair_tv_floor,
)
from raterhf.evaluation.metrics.frontier import at_gold, on_front
from raterhf.evaluation.metrics.intervals import cluster_bootstrap, combine, interpolate_at_equal_gold, mean_over_people, over_seeds
from raterhf.evaluation.metrics.marginal import (
    class_counts,
    class_distribution,
    coverage_ratio,
    entropy,
    entropy_ratio,
    etv,
    gamma,
    tv,
    tv_floor,
)
from raterhf.evaluation.metrics.quality import accuracy, ece, flip_rate, nll, rater_accuracies, skill, worst_decile
from raterhf.evaluation.metrics.told import (
    effective,
    everybodys_ratings,
    favourites,
    opening,
    own_ratings,
    recognise,
    top_mass,
    words_needed,
)
from raterhf.evaluation.metrics.two_samples import auc, c2st_auc, c2st_scores, copying, copying_by_row

__all__ = [
    "accuracy",
    "at_gold",
    "auc",
    "c2st_auc",
    "c2st_scores",
    "class_counts",
    "class_distribution",
    "cluster_bootstrap",
    "combine",
    "copying",
    "copying_by_row",
    "coverage_ratio",
    "ece",
    "effective",
    "entropy",
    "entropy_ratio",
    "etv",
    "everybodys_ratings",
    "favourites",
    "fleiss_kappa",
    "fleiss_kappas",
    "flip_rate",
    "gamma",
    "interpolate_at_equal_gold",
    "joint_tv",
    "joint_tv_to_raters",
    "mean_over_pairs",
    "mean_over_people",
    "mi_ratio",
    "mutual_information",
    "nll",
    "on_front",
    "opening",
    "over_seeds",
    "own_ratings",
    "pair_tv",
    "pair_tv_floor",
    "rater_accuracies",
    "recognise",
    "skill",
    "top_mass",
    "tv",
    "tv_floor",
    "words_needed",
    "worst_decile",
]
