"""What lies in a run folder: the folders of its stages, who is known to one, and the recipe that it was trained by."""

from pathlib import Path

import numpy as np

from raterhf.errors import UserError
from raterhf.io import check_whole
from raterhf.models.checkpoint import FINISHED, STARTED, load_pool, read_header
from raterhf.raters.pool import RaterPool
from raterhf.recipe import Recipe
from raterhf.recipe_reader import load_recipe

SAMPLED_FROM = ("policy", "sft", "base")
SCORED_BY = ("reward",)


def find_stage(run: Path, stages: tuple[str, ...]) -> Path:
    """The model folder meant by RUN: RUN itself, or the first of `stages` trained in it."""
    for folder in (run, *(run / stage for stage in stages)):
        check_trained(folder)
        if (folder / "raterhf.json").is_file():
            return check_whole(folder)
    if trained := sorted(path.parent.name for path in run.glob("*/raterhf.json")):
        raise UserError(
            f"run {run} has the stage {', '.join(trained)} alone, and {' or '.join(stages)} is needed: add it to the recipe and run "
            "`raterhf train` again"
        )
    what = f"has no trained stage {' or '.join(stages)}" if run.is_dir() else "does not exist"
    inside, beside = (sorted({path.parent.parent.as_posix() for path in place.glob("*/*/raterhf.json")}) for place in (run, run.parent))
    near = f"; runs in it: {', '.join(inside)}" if inside else f"; runs beside it: {', '.join(beside)}" if beside else ""
    raise UserError(f"run {run} {what}{near}; give a folder that `raterhf train RECIPE` wrote, such as runs/NAME")


def untrained_stages(run: Path) -> list[str]:
    """Later stages of a run's recipe that are not trained, the last first, so that an earlier one answers; none where `run` names it."""
    answers = find_stage(run, SAMPLED_FROM)
    if answers == run:
        return []
    recipe = recipe_of(answers)
    return [stage for stage in SAMPLED_FROM[: SAMPLED_FROM.index(answers.name)] if recipe and stage in recipe.stages]


def check_trained(folder: Path) -> None:
    """Raise UserError for the folder of a stage whose training has begun and not ended: what lies there may be another training's."""
    if (folder / STARTED).is_file() and not (folder / FINISHED).is_file():
        raise UserError(
            f"{folder} is being trained, or its training was interrupted; run the same `raterhf train` again to end it, or give the "
            "folder of an earlier stage"
        )


def home_of(folder: Path) -> Path:
    """The run folder of a run or of one of its stages."""
    return folder.parent if (folder / "raterhf.json").is_file() else folder


def read_pool(folder: Path) -> RaterPool:
    """The raters of a model folder; the base model, which nobody rates, has none."""
    knows = (folder / "raters.json").is_file() or read_header(folder)["dim"] > 0
    return load_pool(folder) if knows else RaterPool([], np.zeros((0, 0), np.float32), 0, "none")


def recipe_of(folder: Path) -> Recipe | None:
    """The recipe that a stage was trained by; None where a model folder has none."""
    path = folder / "recipe.resolved.yaml"
    return load_recipe(path) if path.is_file() else None
