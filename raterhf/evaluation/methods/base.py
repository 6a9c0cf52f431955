"""What a method of vanilla is: a file of this folder with `CONFIG` and `train`. The baseline knows none of them by name.

`CONFIG` is TRL's config, whose arguments the recipe gives in `vanilla.rl`, and `train(work, out)` goes on with the SFT model and writes the
policy into `out`. A new method is one new file; `vanilla.method` names it, and `vanilla` of a rival in `compare.rivals`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from transformers import TrainingArguments

from raterhf.evaluation.trl_means import Means
from raterhf.recipe_compare import VanillaSettings

Prompt = str | list[dict]
Reward = Callable[[list[Prompt], list[str]], Sequence[float]]
Watch = Callable[[int, list[Prompt], list[str]], None]


@dataclass(frozen=True)
class Work:
    """What a method begins with: the folder of the SFT model, `pairs` (`prompt, chosen, rejected`) of everybody, the different prompts, and
    the standardised reward of completions [N], margins of which are log-odds.

    `args` are those of its config. `watch` is told the updates done, and the prompts and completions, each time that samples were drawn.
    """

    sft: Path
    pairs: pd.DataFrame
    prompts: list[Prompt]
    reward: Reward
    args: dict[str, Any]
    seed: int
    means: Means = Means()
    watch: Watch | None = None


class Method(Protocol):
    CONFIG: type[TrainingArguments]

    def train(self, work: Work, out: Path) -> Path:
        """Train and write a causal language model to `out`, whole or not at all; returns `out`. Raises `UserError` on an unknown argument
        and on a text that leaves no room."""


def load_method(name: str) -> Method:
    """The method of that name, one of `recipe_compare.methods()`."""
    return import_module(f"raterhf.evaluation.methods.{name}")  # type: ignore[return-value]


def arguments(method: str, vanilla: VanillaSettings, own: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a method's config: `vanilla.rl`, where another method than vanilla's of them those that it has too, so that both
    have the same updates and optimiser; and its own, which come first."""
    if method == vanilla.method:
        return vanilla.rl | own
    known = {field.name for field in fields(load_method(method).CONFIG) if field.init}
    return {name: value for name, value in vanilla.rl.items() if name in known} | own
