"""`make demo` is shorter than the recipe for both sides alike, and judges what the README promises."""

import re
from pathlib import Path

from raterhf.recipe_reader import load_recipe

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
SETTINGS = re.search(r"^DEMO := (.*)$", LINES, re.M)[1].split()


def test_vanilla_has_as_many_updates_as_ours():
    cut = SETTINGS.index("--controls")
    recipe = load_recipe(ROOT / "recipes" / "dice.yaml", SETTINGS[:cut])
    ours = [recipe.sft.steps, recipe.reward.steps, recipe.policy.steps]
    assert ours == [recipe.vanilla.sft["max_steps"], recipe.vanilla.reward["max_steps"], recipe.vanilla.rl["max_steps"]]
    assert set(SETTINGS[cut + 1].split(",")) >= {"base", "vanilla", "rater_new", "shuffled"} and len(SETTINGS) == cut + 2
