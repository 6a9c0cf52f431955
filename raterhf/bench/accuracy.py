"""`raterhf bench accuracy`: how soon a recipe's reward model reaches an accuracy, for each conditioning of the rater.

Each conditioning trains as the stage would, and is measured every few updates on comparisons kept back, or on those of another split of the
data, for their own raters; the clock stands still meanwhile. Unshared is the same training with every side of a comparison a text of its
own in sorted, padded batches: a few of its updates are timed, and it needs as many as the shared prefix model, since both compute the same.
"""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raterhf.bench.measure import machine
from raterhf.bench.score import in_batches
from raterhf.data import prepare
from raterhf.data.comparisons import ComparisonData
from raterhf.data.labels import Labels, read_recipe
from raterhf.data.renderer import Renderer
from raterhf.engine.scorer import TOKEN_BUDGET
from raterhf.errors import UserError
from raterhf.evaluation.metrics import accuracy
from raterhf.lock import hold_run
from raterhf.log import log
from raterhf.models.place import pick_device
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import Recipe
from raterhf.training import pipeline
from raterhf.training.fit import fit
from raterhf.training.reward_module import evaluate
from raterhf.training.stages.reward import RewardTraining, make_training

TIMED = 2  # updates of the unshared model, after one that warms up
JUDGED = 10_000  # comparisons kept back that the accuracy is read on, at most


class _Reached(Exception):
    """Ends a training that has reached what was asked of it."""


def bench_accuracy(
    recipe: Recipe, conditionings: list[str], target: float, every: int, unshared: bool, stop: bool = False, split: str | None = None
) -> dict:  # fmt: skip
    """A row for each conditioning: updates and seconds until the accuracy is `target`, the best accuracy, and the curve, with `stop` until
    then."""
    found = {"machine": machine(pick_device(), torch.float32), "recipe": recipe.name, "target": target, "split": split, "rows": []}
    other = None if split is None else read_recipe(recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})}))
    if recipe.base:
        with hold_run(recipe.folder):
            pipeline.train_stage(recipe, "base", recipe.folder / "base")
    for conditioning in conditionings:
        changed = recipe.model_copy(update={"reward": recipe.reward.model_copy(update={"conditioning": conditioning})})
        log.info(f"{conditioning}: {recipe.reward.steps} updates")
        row = row_of(conditioning, learning_curve(changed, every, target if stop else None, other), target)
        found["rows"].append(row)
        if conditioning == "prefix" and unshared:
            seconds = unshared_update(changed)
            naive = {"conditioning": "prefix, unshared", "timed": TIMED, "seconds_per_update": seconds}
            if row["updates"] is not None:
                naive |= {"updates": row["updates"], "seconds": seconds * row["updates"]}
            found["rows"].append(naive)
    return found


def row_of(conditioning: str, curve: list[dict], target: float) -> dict:
    """What a curve says of a conditioning."""
    reached = next((point for point in curve if point["accuracy"] >= target), {"updates": None, "seconds": None})
    return {
        "conditioning": conditioning, "updates": reached["updates"], "seconds": reached["seconds"],
        "seconds_per_update": curve[-1]["seconds"] / curve[-1]["updates"], "best": max(point["accuracy"] for point in curve),
        "last": curve[-1]["accuracy"], "curve": curve,
    }  # fmt: skip


def learning_curve(recipe: Recipe, every: int, until: float | None = None, other: Labels | None = None) -> list[dict]:
    """Updates, seconds of training and accuracy, every so many updates and at the end; no further than `until` that accuracy.

    Measured on comparisons kept back, or on `other` ones.
    """
    made = make_training(recipe, prepare.read_data(recipe))
    held = made.held if other is None else of_known_raters(recipe, made, other)
    held = held.rows(np.sort(np.random.default_rng(recipe.seed).permutation(len(held))[:JUDGED]))
    curve, spent, since = [], 0.0, time.perf_counter()

    def look(updates: int) -> None:
        """Measure while the clock stands still."""
        nonlocal spent, since
        spent += time.perf_counter() - since
        if updates and updates % every == 0 or updates == recipe.reward.steps:
            curve.append({"updates": updates, "seconds": spent, "accuracy": accuracy_now(made, held)})
            if until is not None and curve[-1]["accuracy"] >= until:
                raise _Reached
        since = time.perf_counter()

    def batch(step: int):
        look(step)
        return made.batch(step)

    with tempfile.TemporaryDirectory() as place, suppress(_Reached):
        fit(made.module, batch, recipe.reward, Path(place) / recipe.reward.conditioning, made.rates)
        look(recipe.reward.steps)
    return curve


def of_known_raters(recipe: Recipe, made: RewardTraining, labels: Labels) -> ComparisonData:
    """Comparisons by raters who were trained on. Raises UserError where there are none."""
    window = prepare.Window(Renderer(made.tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    found = prepare.comparison_data(labels, window, made.people.known, {})
    if not len(found):
        raise UserError("--split: no comparison there is by a rater who was trained on; give another split")
    return found


def accuracy_now(made: RewardTraining, held: ComparisonData) -> float:
    """Of the model as it is on comparisons held back, each for its own rater."""
    margin = evaluate(made.module, held, made.module.known(held.rater))
    made.module.train()
    return accuracy(margin.cpu().numpy(), held.label)


def unshared_update(recipe: Recipe) -> float:
    """Seconds of an update, mean of some, that reads every side of every comparison by itself."""
    changed = recipe.model_copy(update={"reward": recipe.reward.model_copy(update={"steps": TIMED + 1})})
    made = make_training(changed, prepare.read_data(changed))
    model = made.module.model

    def margins(data: ComparisonData, raters: RaterBatch) -> Tensor:
        examples, rater = [data.examples[i] for i in np.concatenate([data.a, data.b])], torch.arange(len(data)).repeat(2)
        rater = rater.to(raters.null.device)
        scores = in_batches(
            lambda batch, rows: model(batch, raters[rater[rows]]), examples, raters.null.device, TOKEN_BUDGET
        )  # fmt: skip
        return scores[: len(data)] - scores[len(data) :]

    made.module.margins = margins
    begun: list[float] = []

    def batch(step: int):
        begun.append(time.perf_counter())
        return made.batch(step)

    with tempfile.TemporaryDirectory() as place:
        settings = recipe.reward.model_copy(update={"steps": TIMED + 1})
        fit(made.module, batch, settings, Path(place) / "unshared", made.rates)
    return (time.perf_counter() - begun[1]) / TIMED
