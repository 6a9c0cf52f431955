"""The policies of a recipe as its comparisons and probes ask them: all sample alike."""

from pathlib import Path

from raterhf.engine.rater_policy import RaterPolicy, load_rater_policy
from raterhf.models.place import kept_dtype, pick_device
from raterhf.recipe import Recipe


def vanilla_folder(run: Path, recipe: Recipe, i: int = 0) -> Path:
    """Where a run keeps vanilla at the recipe's beta number `i`, of which the first is the one that is compared with."""
    return run / "vanilla" / f"rl-beta-{recipe.compare.vanilla_betas[i]}"


def of_recipe(
    name: str, folder: Path, draws: str, recipe: Recipe, temperature: float = 1.0, min_p: float | None = None
) -> RaterPolicy:  # fmt: skip
    """A policy that samples as the recipe's policy does; all that are compared do, but those that are vanilla sampled otherwise."""
    dtype = kept_dtype(recipe.model, pick_device().type)
    longest, own = recipe.limits
    return load_rater_policy(name, folder, draws, recipe.model.max_length, longest, own if min_p is None else min_p, temperature, dtype)
