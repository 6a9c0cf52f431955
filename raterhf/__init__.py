"""raterhf: preference training that keeps the raters apart.

Reward models and policies are conditioned on who judged; a fictitious rater, drawn from the learned population, answers as a person who
never existed. `raterhf --help` lists the verbs; in Python, `raterhf.open`, `train`, `compare` and `load_recipe` are what they call.
Importing this package imports nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raterhf.api import check_data as check_data
    from raterhf.api import compare as compare
    from raterhf.api import train as train
    from raterhf.engine.newcomers import FittedRater as FittedRater
    from raterhf.errors import UserError as UserError
    from raterhf.evaluation import metrics as metrics
    from raterhf.export.folder import Exported as Exported
    from raterhf.recipe import Recipe as Recipe
    from raterhf.recipe_reader import load_recipe as load_recipe
    from raterhf.run import Answer as Answer
    from raterhf.run import Run as Run
    from raterhf.run import open_run as open
    from raterhf.training.drop import drop_raters as drop_raters
    from raterhf.worlds.world import load_world as load_world

__version__ = "0.1.0"

# Imported when they are first used.
__all__ = [
    "Answer",
    "Exported",
    "FittedRater",
    "Recipe",
    "Run",
    "UserError",
    "check_data",
    "compare",
    "drop_raters",
    "load_recipe",
    "load_world",
    "metrics",
    "open",
    "train",
]

_HOMES = {
    "Answer": "raterhf.run:Answer",
    "Exported": "raterhf.export.folder:Exported",
    "FittedRater": "raterhf.engine.newcomers:FittedRater",
    "Recipe": "raterhf.recipe:Recipe",
    "Run": "raterhf.run:Run",
    "UserError": "raterhf.errors:UserError",
    "check_data": "raterhf.api:check_data",
    "compare": "raterhf.api:compare",
    "drop_raters": "raterhf.training.drop:drop_raters",
    "load_recipe": "raterhf.recipe_reader:load_recipe",
    "load_world": "raterhf.worlds.world:load_world",
    "metrics": "raterhf.evaluation.metrics",
    "open": "raterhf.run:open_run",
    "train": "raterhf.api:train",
}


def __getattr__(name: str) -> object:
    """The public names, imported when they are first used: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'raterhf' has no attribute {name!r}; public names: {', '.join(__all__)}")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    found = getattr(import_module(module), attribute) if attribute else import_module(module)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
