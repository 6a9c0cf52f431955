"""`raterhf compare`: which kind of comparison a recipe's data allow."""

from pathlib import Path

from raterhf.errors import UserError
from raterhf.evaluation.compare.answers import compare_answers
from raterhf.evaluation.compare.discussions import compare_people
from raterhf.evaluation.compare.own_data import compare_own
from raterhf.evaluation.compare.rated import compare_rated, read_rated
from raterhf.evaluation.compare.world import compare_world
from raterhf.lock import hold_run
from raterhf.recipe import Recipe
from raterhf.training import ranks


def compare(recipe: Recipe, controls: list[str] | None, seeds: int) -> Path:
    """Train what is missing, judge and report; returns the report's path.

    In a simulated world policies are judged by its distributions. On real people, votes, ratings and answers alone by those kept from all
    training where the data hold them, else policies beside the raters that they were trained on.
    """
    if recipe.data.world is None and seeds > 1:
        raise UserError(f"--seeds {seeds} redraws a simulated world, and this recipe has none; give seed=1 name=OTHER to train another one")
    if ranks.started() or (recipe.trainer.devices or 1) > 1:
        raise UserError(
            "compare judges, and trains what is missing, in processes of its own; train the recipe's stages with `raterhf train` on "
            "several devices first, and run compare without torchrun and with trainer.devices=1"
        )
    alone = recipe.data.demonstrations and not (recipe.data.comparisons or recipe.data.ratings)
    votes = recipe.data.split and recipe.data.group_column and recipe.policy is None
    with hold_run(recipe.folder):
        if recipe.data.world is not None:
            return compare_world(recipe, controls, seeds)
        if alone:
            return compare_answers(recipe, controls)
        if votes:
            return compare_people(recipe, controls)
        rated = read_rated(recipe)
        return compare_own(recipe, controls) if rated is None else compare_rated(recipe, rated, controls)
