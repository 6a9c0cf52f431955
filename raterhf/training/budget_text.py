"""The budget of a recipe as lines for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from raterhf.data import prepare
from raterhf.data.labels import read_recipe
from raterhf.errors import UserError
from raterhf.recipe import Recipe
from raterhf.training.budget import ROOM, Cost, Devices, costs, rate, scoring
from raterhf.training.estimate import GIB, REMEDY, shape_of
from raterhf.training.preview import recipe_renderer
from raterhf.training.step_texts import Lengths, lengths_of, steps_for, steps_of

RATER_BYTES = 16  # of a dimension of a rater's vector that learns: itself, its gradient and two moments


@dataclass(frozen=True)
class Asked:
    """What is planned for beside the recipe: tokens of a prompt and a completion in place of its data, comparisons that are each read once,
    known raters, scores by a jury of so many, and hours to be done in."""

    lengths: tuple[float, float] | None = None
    labels: int | None = None
    raters: int | None = None
    scores: int | None = None
    jury: int = 64
    hours: float | None = None


def plan_text(recipe: Recipe, devices: Devices, name: str, asked: Asked) -> str:
    """What the recipe takes on `devices`, each called `name`. Raises UserError where data, tokenizer or shape cannot be read."""
    if not recipe.stages:
        raise UserError("the recipe has no stage; add one of base, reward, sft, policy")
    recipe = _with_labels(recipe, asked.labels)
    lengths, raters = Lengths(*asked.lengths) if asked.lengths else None, asked.raters
    if lengths is not None:
        steps = steps_for(recipe, lengths)
    else:
        labels = read_recipe(recipe) if set(recipe.stages) - {"base"} else None
        renderer = recipe_renderer(recipe, labels)
        steps = steps_of(recipe, renderer, labels)
        if labels is not None:
            raters = raters or len(prepare.find_people(labels).known)
            lengths = lengths_of(labels, renderer, recipe.seed)
    found = [_with_raters(cost, recipe, raters or 0) for cost in costs(recipe, steps, devices)]
    if asked.scores:
        if lengths is None:
            raise UserError(
                "--scores needs the lengths of texts, and the recipe has no labels; give --prompt-tokens and --completion-tokens"
            )
        found.append(scoring(recipe, asked.scores, asked.jury, lengths, shape_of(recipe.model, "cuda"), devices))
    return "\n".join(
        [*_head(recipe, devices, name), *_table(found), *_verdict(found, devices, asked.hours), *_uneven(recipe, devices.count)]
    )


def _with_labels(recipe: Recipe, labels: int | None) -> Recipe:
    """With as many steps of the reward stage as read so many comparisons once."""
    if labels is None:
        return recipe
    if recipe.reward is None:
        raise UserError(f"--labels {labels} are for the stage reward, and the recipe has none; leave it out")
    steps = -(-labels // recipe.reward.batch_size)
    return recipe.model_copy(update={"reward": recipe.reward.model_copy(update={"steps": steps})})


def _with_raters(cost: Cost, recipe: Recipe, raters: int) -> Cost:
    learned = cost.stage == "reward" or cost.stage == "sft" and (recipe.sft.learn_vectors or recipe.reward is None)
    if not (raters and learned and recipe.raters.encoding == "embedding"):
        return cost
    return Cost(
        cost.stage, cost.steps, cost.tokens, cost.flops, cost.seconds,
        cost.memory | {"rater vectors": RATER_BYTES * recipe.raters.dim * raters},
    )  # fmt: skip


def _head(recipe: Recipe, devices: Devices, name: str) -> list[str]:
    many = f"{devices.count} x " if devices.count > 1 else ""
    return [
        f"{recipe.name} on {many}{name}: {rate(recipe, devices) / devices.used / 1e12:.3g} TFLOP/s of which {devices.used:.0%} is reached "
        f"(assumed), {devices.bandwidth / 1e12:.3g} TB/s from memory"
        + (f", {devices.link / 1e9:.3g} GB/s between devices" if devices.count > 1 else "")
    ]


def _table(found: Sequence[Cost]) -> list[str]:
    columns = ["steps", "trained on", "read", "sampled", "FLOP", "GiB", "hours"]
    lines = [f"{'':9}" + "".join(f"{name:>12}" for name in columns) + "   bound by"]
    for cost in found:
        tokens = [_short(cost.tokens.get(kind, 0)) for kind in ("trained", "read", "sampled")]
        cells = [_short(cost.steps), *tokens, _short(cost.flops), f"{cost.gib:.1f}", f"{cost.hours:.2f}"]
        lines.append(f"{cost.stage:9}" + "".join(f"{cell:>12}" for cell in cells) + f"   {cost.bound}")
    parts = list(dict.fromkeys(part for cost in found for part in cost.memory))
    lines += ["", f"{'GiB of a device':24}" + "".join(f"{cost.stage:>9}" for cost in found)]
    for part in parts:
        lines.append(f"  {part:22}" + "".join(f"{cost.memory.get(part, 0) / GIB:9.2f}" for cost in found))
    return lines


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 1e5 else f"{number:.2e}".replace("e+", "e").replace("e0", "e")


def _uneven(recipe: Recipe, count: int) -> list[str]:
    """What so many processes cannot share, which training refuses."""
    uneven = [f"{key} {size}" for key, size in recipe.shared.items() if size % count]
    return [f"not to be trained so: {', '.join(uneven)} must be a multiple of {count}"] if uneven else []


def _verdict(found: Sequence[Cost], devices: Devices, hours: float | None) -> list[str]:
    total, largest = sum(cost.hours for cost in found), max(found, key=lambda cost: cost.gib)
    fits = "fits" if largest.gib <= ROOM * devices.gib else f"does not fit: {REMEDY}; weights are not shared out among devices"
    lines = ["", f"memory: {largest.stage} takes {largest.gib:.1f} of {devices.gib:g} GiB, of which a tenth is the libraries': {fits}"]
    lines.append(f"time: {total:.2f} hours, {total * devices.count:.2f} of devices")
    if hours is not None:
        lines[-1] += f"; {'within' if total <= hours else 'more than'} the {hours:g} asked for"
    return lines
