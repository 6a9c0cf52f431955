"""What a comparison needs of recipe and data, checked before anything is trained."""

from raterhf.data.labels import Labels
from raterhf.errors import UserError
from raterhf.log import log
from raterhf.recipe import Recipe
from raterhf.training.needs import check_labels

BY_VANILLA = ("vanilla", "sft_no_ids", "vanilla_best_t")  # policies that TRL trains
OURS = ("base", "sft", "rater_known", "rater_new")  # policies of the recipe's own stages
# Arguments of vanilla.rl that our stages without IDs take over.
OF_OURS = ("max_steps", "learning_rate", "num_generations", "per_device_train_batch_size")


def wanted_policies(recipe: Recipe, controls: list[str] | None, known: tuple[str, ...], without: str, instead: str = "") -> list[str]:
    """The policies to judge outside a simulated world: those of `controls` (None: the recipe's; all: all `known`).

    Raises UserError, before hours of training, where one is not known, and where the recipe lacks what they need. `without` are policies
    that need no TRL, `instead` what else the recipe may be for.
    """
    if recipe.raters.encoding != "embedding" or not (recipe.reward and recipe.sft and recipe.policy):
        raise UserError(f"compare needs a recipe with raters.encoding embedding and the stages reward, sft and policy{instead}")
    wanted = _named(recipe, controls, known)
    check_vanilla(recipe, wanted, without)
    return wanted


def wanted_answers(recipe: Recipe, controls: list[str] | None, known: tuple[str, ...]) -> list[str]:
    """The policies to judge where people's own answers are all there is. Raises UserError where one is not known, and where the recipe has
    no raters to draw."""
    if recipe.raters.encoding != "embedding" or recipe.base or not recipe.sft:
        raise UserError(
            "compare on answers alone needs a recipe with raters.encoding embedding and one stage, sft, as recipes/moments.yaml; the text "
            "of IDs is a control of it: --controls rater_new,text_new"
        )
    return _named(recipe, controls, known)


def _named(recipe: Recipe, controls: list[str] | None, known: tuple[str, ...]) -> list[str]:
    wanted = list(known) if controls == ["all"] else controls or [name for name in recipe.compare.controls if name in known]
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(f"control {unknown[0]!r} is not one of {', '.join(known)}, or all, where there is no simulated world")
    return wanted


def check_vanilla(recipe: Recipe, wanted: list[str], without: str) -> None:
    """Raise UserError where the recipe lacks what TRL needs for the policies wanted. `without` are policies that need no TRL."""
    theirs = by_trl(recipe)
    ours = {*OURS, *recipe.compare.rivals} - theirs
    if recipe.base and recipe.model.train == "lora" and (others := [name for name in wanted if name not in ours]):
        raise UserError(
            f"only our own stages go on with the adapters of a stage base, and {', '.join(others)} would not; set model.train to all, or "
            f"leave them out: --controls {','.join(name for name in wanted if name in ours) or 'base,sft,rater_new'}"
        )
    if not {*theirs, "none"} & set(wanted):
        return
    alone = f"or leave it out: --controls {without}"
    if not (recipe.vanilla and recipe.vanilla.rl):
        raise UserError(
            "the vanilla baseline needs the recipe's section `vanilla` (TRL's SFTConfig, RewardConfig and the method's config); copy it "
            f"from recipes/dice.yaml (`raterhf recipes cp dice`), {alone}"
        )
    if "none" in wanted and (missing := [key for key in OF_OURS if key not in recipe.vanilla.rl]):
        raise UserError(f"the control `none` takes its sizes from vanilla.rl, which lacks {', '.join(missing)}; add them, {alone}")
    if recipe.model.train == "none":
        raise UserError(
            "model.train is none: without raters nothing of such a model learns, neither vanilla's nor the control none; set "
            f"model.train to lora, {alone}"
        )
    if recipe.model.load == "4bit":
        raise UserError(f"model.load is 4bit, in which vanilla and the control none are not trained; set model.load to whole, {alone}")
    from raterhf.evaluation.methods.base import load_method  # imports trl, which is slow
    from raterhf.evaluation.trl_trainers import RewardConfig, SFTConfig, check_arguments

    settings = recipe.vanilla
    kinds = {"sft": SFTConfig, "reward": RewardConfig, "rl": load_method(settings.method).CONFIG}
    check_arguments([(kind, getattr(settings, stage), f"vanilla.{stage}") for stage, kind in kinds.items()])


def by_trl(recipe: Recipe) -> set[str]:
    """Policies that TRL trains, or that are sampled from one that it trained."""
    return {*BY_VANILLA, *(name for name, rival in recipe.compare.rivals.items() if rival.policy is None)}


def check_data(recipe: Recipe, labels: Labels, wanted: list[str]) -> None:
    """Raise UserError where the stages, or TRL's, would have nothing to train on; say which figures will be missing."""
    check_labels(labels, recipe.raters.encoding, recipe.reward is not None, recipe.sft and recipe.sft.source)
    if by_trl(recipe) & set(wanted) and not (labels.comparisons.label != 0).any():
        raise UserError("the vanilla baseline trains on comparisons that are no ties, and all are; add others, or leave vanilla out")
    if recipe.data.held_out == 0:
        log.warning("  compare: data.held_out=0 keeps no comparison from training, so how often a reward model is right is not measured")
    validate = labels.raters.rater_id[labels.raters.split == "validate"]
    if not labels.comparisons.rater_id.isin(set(validate)).any():
        log.warning("  compare: no comparison is of a validation rater, so how often a reward model is right on new raters is not measured")
