"""What `import raterhf` offers beside opened runs: train a recipe, compare it with vanilla, check its data."""

from collections.abc import Sequence
from pathlib import Path

from raterhf.data.labels import labels_of
from raterhf.data.show import inspect_recipe, print_figures
from raterhf.evaluation.compare.run import compare as compare_policies
from raterhf.recipe import Recipe
from raterhf.recipe_reader import load_recipe
from raterhf.reports.data_page import write_data_page
from raterhf.run import Run, open_run
from raterhf.training import pipeline
from raterhf.training.preview import preview_text, recipe_renderer


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


def check_data(
    recipe: Recipe | str | Path, overrides: Sequence[str] = (), show: bool = True, html: str | Path | None = None, tokens: bool = True
) -> dict:
    """Read a recipe's data as training would and say what is in them, as `raterhf data check` does; returns the figures.

    `show` prints them, `html` names a page to write. `tokens` counts the tokens of the recipe's model and shows one example as it is read;
    without it texts are measured in words alone. Raises UserError that names file, row and remedy.
    """
    resolved = _resolved(recipe, overrides)
    labels = labels_of(resolved)
    renderer = recipe_renderer(resolved, labels) if tokens else None
    figures = inspect_recipe(resolved, labels, renderer)
    if renderer and resolved.stages:
        figures["example"] = preview_text(resolved, labels, renderer)
    if show:
        print_figures(figures)
    if html:
        write_data_page(figures, resolved.name, Path(html))
    return figures


def _resolved(recipe: Recipe | str | Path, overrides: Sequence[str]) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe, list(overrides))
