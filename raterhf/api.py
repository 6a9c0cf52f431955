"""What `import raterhf` offers beside opened runs: train a recipe, compare it with vanilla."""

from collections.abc import Sequence
from pathlib import Path

from raterhf.evaluation.compare.run import compare as compare_policies
from raterhf.recipe import Recipe, load_recipe
from raterhf.run import Run, open_run
from raterhf.training import pipeline


def train(recipe: Recipe | str | Path, overrides: Sequence[str] = ()) -> Run:
    """Run a recipe's stages in order into its run folder, and open it. Finished stages are skipped, an interrupted one resumes.

    `recipe` is a path, or what `load_recipe` gives; `overrides` such as "policy.beta=0.5" change a path's. Raises UserError.
    """
    resolved = _resolved(recipe, overrides)
    pipeline.train(resolved)
    return open_run(resolved.folder)


def compare(recipe: Recipe | str | Path, controls: Sequence[str] | None = None, seeds: int = 1, overrides: Sequence[str] = ()) -> Path:
    """Train what is missing, vanilla included, and measure every policy; returns the path of report.html.

    `controls` are the policies to measure, ["all"] for all; the recipe's where not given. Over several seeds the world of a simulated
    recipe is drawn anew. `metrics.json` and the plots lie beside the report. Raises UserError.
    """
    return compare_policies(_resolved(recipe, overrides), list(controls) if controls else None, seeds)


def _resolved(recipe: Recipe | str | Path, overrides: Sequence[str]) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe, list(overrides))
