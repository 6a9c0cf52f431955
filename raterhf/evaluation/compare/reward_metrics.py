"""How well reward models foretell comparisons that nobody was trained on: with the rater, for nobody, with shuffled raters, and TRL's.

`accuracy, nll, ece, flip_rate` are on held-out comparisons of known raters, `accuracy_new_pairs` on those of them whose pair no training
comparison is of, whoever judged it; `heldout_accuracy` on those of raters never trained on. Where
there are none they are NaN.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.scorer import Scorer
from raterhf.evaluation import metrics
from raterhf.evaluation.trl_baseline import pair_rows, standard_scale
from raterhf.models import checkpoint
from raterhf.models.place import kept_dtype, pick_device
from raterhf.progress import Progress
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import Recipe


def measure_reward_models(recipe: Recipe, labels: Labels, vanilla: bool, shuffled: bool) -> dict[str, dict[str, float]]:
    """Figures of each reward model of one seed."""
    train, held = pair_rows(recipe, labels)
    held = held.assign(met=met_in_training(train, held))
    validate = set(labels.raters.rater_id[labels.raters.split == "validate"])
    fresh = labels.comparisons[labels.comparisons.rater_id.isin(validate)]
    found = {}
    folders = {"rater": recipe.folder / "reward"} | ({"shuffled": recipe.folder / "controls" / "shuffled" / "reward"} if shuffled else {})
    with Progress("judging reward models", len(folders) + vanilla, "model") as progress:
        for name, folder in folders.items():
            model, tokenizer, header = checkpoint.load_reward(folder)
            pool = checkpoint.load_pool(folder)
            margins = _Margins(Scorer(model), Renderer(tokenizer, header["max_length"]), pool)
            found[name] = _metrics_of(margins(held, held.rater_id), held) | {"flip_rate": _flips(margins, held)}
            if name == "rater":
                found["null"] = _metrics_of(margins(held, None), held)
                found["null"]["heldout_accuracy"] = metrics.accuracy(margins(fresh, None), fresh.label.to_numpy())
            progress.advance()
        if vanilla:
            dtype = kept_dtype(recipe.model, pick_device().type)
            found["vanilla"] = _vanilla(recipe.folder / "vanilla" / "reward", dtype, held, fresh)
            progress.advance()
    return found


def _vanilla(folder: Path, dtype: torch.dtype, held, fresh) -> dict[str, float]:
    from raterhf.evaluation.trl_trainers import load_scorer  # imports trl, which is slow

    score = load_scorer(folder, dtype=dtype)

    def margins(rows) -> np.ndarray:
        return score(list(rows.prompt), list(rows.a)) - score(list(rows.prompt), list(rows.b))

    raw = margins(held)
    measured = _metrics_of(standard_scale(raw, held.label.to_numpy()) * raw, held)
    return measured | {"heldout_accuracy": metrics.accuracy(margins(fresh), fresh.label.to_numpy())}


class _Margins:
    """Margins s_a - s_b of comparisons for given raters (None: nobody)."""

    def __init__(self, scorer: Scorer, renderer: Renderer, pool):
        self.scorer, self.renderer, self.pool = scorer, renderer, pool

    @torch.no_grad()
    def __call__(self, frame, raters) -> np.ndarray:
        if frame.empty:
            return np.zeros(0)
        a = [self.renderer.example(p, t) for p, t in zip(frame.prompt, frame.a)]
        b = [self.renderer.example(p, t) for p, t in zip(frame.prompt, frame.b)]
        if raters is None:
            who = RaterBatch.nobody(len(frame))
        else:
            who = RaterBatch.people(torch.tensor(self.pool.vectors[[self.pool.index[r] for r in raters]]))
        scores = self.scorer.pairs(a + b, who.repeat(2)).cpu().numpy()
        return scores[: len(a)] - scores[len(a) :]


def _metrics_of(margin: np.ndarray, held) -> dict[str, float]:
    label, new = held.label.to_numpy(), ~held.met.to_numpy(bool)
    return {
        "accuracy_new_pairs": metrics.accuracy(margin[new], label[new]), "new_pairs": int(new.sum()),
        "accuracy": metrics.accuracy(margin, label), "nll": metrics.nll(margin, label), "ece": metrics.ece(margin, label),
        "accuracy_worst_decile": metrics.worst_decile(metrics.rater_accuracies(margin, label, held.rater_id.to_numpy())),
        "pairs": len(held),
    }  # fmt: skip


def met_in_training(train: pd.DataFrame, held: pd.DataFrame) -> np.ndarray:
    """Whether anybody's training comparison is of the same two answers to the same prompt, whichever stands first: mask [held]."""
    known, asked = ([(str(prompt), *sorted((a, b))) for prompt, a, b in zip(rows.prompt, rows.a, rows.b)] for rows in (train, held))
    pairs = set(known)
    return np.array([pair in pairs for pair in asked], bool)


def _flips(margins: _Margins, held) -> float:
    """Two raters who disagree on one pair: how often does the preference flip with the rater?"""
    groups: dict[tuple, list[tuple[str, int]]] = {}
    asked = {str(prompt): prompt for prompt in held.prompt}  # conversations are no keys
    for prompt, a, b, label, rater in zip(held.prompt, held.a, held.b, held.label, held.rater_id):
        if label != 0:
            key, sign = ((str(prompt), a, b), label) if a < b else ((str(prompt), b, a), -label)
            groups.setdefault(key, []).append((rater, sign))
    rows = [(key, x[0], y[0]) for key, labels in groups.items() for x, y in combinations(labels, 2) if x[1] != y[1]]
    if not rows:
        return float("nan")
    frame = pd.DataFrame([(asked[prompt], a, b) for (prompt, a, b), _, _ in rows], columns=["prompt", "a", "b"])
    return metrics.flip_rate(margins(frame, [x for _, x, _ in rows]), margins(frame, [y for _, _, y in rows]))


def merge(seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over seeds."""
    return {name: {key: float(np.mean([s[name][key] for s in seeds])) for key in seeds[0][name]} for name in seeds[0]}
