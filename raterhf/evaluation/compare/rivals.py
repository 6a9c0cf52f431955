"""Rivals of a comparison: what `compare.rivals` of a recipe names, at its main strength and at all that its sweep lists.

A rival is a policy of ours by other settings, a policy of TRL's by another method, or vanilla sampled otherwise. All begin with stages that
are trained anyway: ours with `sft` and `reward`, TRL's with vanilla's SFT model and reward model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raterhf.data.labels import Labels
from raterhf.evaluation.compare.jobs import Job
from raterhf.evaluation.policies import vanilla_folder
from raterhf.recipe import PolicySettings, Recipe
from raterhf.recipe_compare import RivalSettings, SampledSettings
from raterhf.recipe_reader import check_options
from raterhf.training import pipeline
from raterhf.training.algorithms.base import load_algorithm

Way = tuple[Path, str, SampledSettings]  # what is asked: a folder, how raters are drawn for it, how it is sampled

STRENGTH = "beta"  # the key that is swept of vanilla and of our own policy


@dataclass(frozen=True)
class Strength:
    """A policy at one strength: the key that says it and its value (None where nothing is swept), where it lies, how its raters are drawn
    and how it is sampled where not as the recipe's policy."""

    key: str
    value: float | None
    folder: Path
    draws: str
    sampled: SampledSettings = SampledSettings()

    @property
    def way(self) -> Way:
        return self.folder, self.draws, self.sampled


def strengths(recipe: Recipe, name: str) -> list[Strength]:
    """A rival at its main strength, which comes first, and at the others of its sweep."""
    rival = recipe.compare.rivals[name]
    key, values = next(iter(rival.sweep.items()), (STRENGTH, [None]))
    found = []
    for i, value in enumerate(values):
        place = name if i == 0 else f"{name}-{key}-{value}"
        if rival.sampled is not None:
            sampled = _sampled(name, rival.sampled, key, value)
            found.append(Strength(key, value, vanilla_folder(recipe.folder, recipe), "none", sampled))
        elif rival.vanilla is not None:
            found.append(Strength(key, value, recipe.folder / "vanilla" / f"rival-{place}", "none"))
        else:
            found.append(Strength(key, value, recipe.folder / f"policy-{place}", "new"))
    return found


def main_strength(recipe: Recipe, name: str) -> Strength:
    return strengths(recipe, name)[0]


def jobs(recipe: Recipe, labels: Labels, name: str, sweep: bool) -> list[Job]:
    """The trainings of a rival, at its main strength or with all of its sweep; the stages before are trained."""
    rival, found = recipe.compare.rivals[name], strengths(recipe, name)
    if rival.sampled is not None:
        return []
    wanted = found if sweep else found[:1]
    if rival.vanilla is not None:
        return [(train_method, (recipe, labels, one.folder, *method_of(recipe, rival, one))) for one in wanted]
    return [(pipeline.train_stage, (policy_of(recipe, name, one), "policy", one.folder, labels)) for one in wanted]


def policy_of(recipe: Recipe, name: str, strength: Strength | None = None) -> Recipe:
    """The recipe with a rival's policy. Raises UserError where its settings are none of section `policy`."""
    assert recipe.policy is not None
    rival = recipe.compare.rivals[name]
    changes = {"options": {}} | (rival.policy or {})
    strength = strength or main_strength(recipe, name)
    if strength.value is not None:
        changes = _with(changes, strength.key, strength.value)
    policy = check_options(PolicySettings, recipe.policy.model_dump() | changes, "compare.rivals", ("compare", "rivals", name, "policy"))
    return recipe.model_copy(update={"policy": policy})


def method_of(recipe: Recipe, rival: RivalSettings, strength: Strength) -> tuple[str, dict[str, Any]]:
    """The method of TRL's that a rival is, and its own arguments; vanilla's main beta where it gives none."""
    assert recipe.vanilla is not None
    own = {"method": recipe.vanilla.method, "beta": recipe.compare.vanilla_betas[0]} | (rival.vanilla or {})
    if strength.value is not None:
        own |= {strength.key: strength.value}
    return own.pop("method"), own


def train_method(recipe: Recipe, labels: Labels, folder: Path, method: str, own: dict[str, Any]) -> None:
    from raterhf.evaluation.trl_baseline import train_vanilla  # imports trl, which is slow and only this needs

    train_vanilla(recipe, labels, folder, method, own)


def check_rivals(recipe: Recipe, wanted: list[str]) -> None:
    """Raise UserError, before hours of training, where a rival's settings are none of what it is."""
    for name in wanted:
        if (rival := recipe.compare.rivals.get(name)) is None:
            continue
        if rival.policy is not None:
            for one in strengths(recipe, name):
                load_algorithm(policy_of(recipe, name, one).policy)  # type: ignore[arg-type]
        elif rival.vanilla is not None and recipe.vanilla is not None:
            from raterhf.evaluation.methods.base import arguments, load_method  # imports trl, which is slow
            from raterhf.evaluation.trl_trainers import check_arguments

            for one in strengths(recipe, name):
                method, own = method_of(recipe, rival, one)
                config = load_method(method).CONFIG
                check_arguments([(config, arguments(method, recipe.vanilla, own), f"compare.rivals.{name}.vanilla")])
        else:
            strengths(recipe, name)


def _sampled(name: str, given: SampledSettings, key: str, value: float | None) -> SampledSettings:
    if value is None:
        return given
    return check_options(SampledSettings, given.model_dump() | {key: value}, "compare.rivals", ("compare", "rivals", name, "sweep"))


def _with(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The settings with what a dotted key names changed."""
    first, _, rest = key.partition(".")
    return settings | {first: _with(settings.get(first) or {}, rest, value) if rest else value}
