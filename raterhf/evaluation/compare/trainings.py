"""What a comparison trains: our policy, vanilla and every control, at one seed, in the folders that the judge reads."""

from pathlib import Path

from raterhf import io
from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.evaluation.compare.jobs import COPIES, COPIES_STAYING, Job, side_by_side, start_processes
from raterhf.evaluation.compare.needs import by_trl
from raterhf.evaluation.compare.rivals import STRENGTH, Strength, main_strength, policy_of, strengths, train_method
from raterhf.evaluation.compare.rivals import jobs as rival_jobs
from raterhf.evaluation.policies import vanilla_folder
from raterhf.evaluation.trl_means import INPUTS
from raterhf.models.checkpoint import FINISHED, weights_of
from raterhf.models.place import pick_device
from raterhf.recipe import Recipe
from raterhf.recipe_compare import VanillaSettings
from raterhf.training import pipeline
from raterhf.training.estimate import estimate, estimate_vanilla
from raterhf.training.start import save_start
from raterhf.worlds.make import world_files


def at_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with its world redrawn: other raters, other labels, the same distributions. Seed 0 are the recipe's own files."""
    if seed == 0:
        return recipe
    folder = recipe.folder / f"seed-{seed}"
    data = folder / "data"
    if not (data / "base.csv").is_file():
        io.write_folder(data, lambda place: world_files(place, seed, recipe.data.world))
    names = {
        "comparisons": "comparisons.csv",
        "ratings": "ratings.csv",
        "demonstrations": "demonstrations.csv",
        "raters": "raters.jsonl",
        "base": "base.csv",
    }
    files = {key: str(data / name) for key, name in names.items() if getattr(recipe.data, key)}
    return recipe.model_copy(
        update={
            "seed": seed,
            "runs": str(recipe.folder),
            "name": f"seed-{seed}",
            "data": recipe.data.model_copy(update=files),
        }
    )


def train_policies(recipe: Recipe, labels: Labels, wanted: list[str], sweep: bool) -> dict[str, tuple[Path, str]]:
    """Train what the wanted policies need, side by side. Returns for each its folder and how its raters are drawn."""
    if recipe.base:
        start_processes([pipeline.train_stage])
        pipeline.train_stage(recipe, "base", recipe.folder / "base")
    save_start(recipe, labels)
    rivals = [name for name in wanted if name in recipe.compare.rivals]
    home, vanilla = recipe.folder, by_trl(recipe) & set(wanted)
    folders = {"base": (recipe.start, "none"), "sft": (home / "sft", "new")}
    folders |= {"rater_known": (home / "policy", "known"), "rater_new": (home / "policy", "new")}
    # Without a simulated world nobody judges a policy of shuffled raters.
    unjudged = {} if recipe.data.world else {"sft": None, "policy": None}
    variants = {
        "comparisons_only": lambda: _variant(recipe, "comparisons_only", data={"demonstrations": None}, sft={"source": "chosen"}),
        "shuffled": lambda: _variant(recipe, "shuffled", data={"shuffle_raters": True}, **unjudged),
        "none": lambda: _without_ids(recipe),
        "text_ids": lambda: _variant(recipe, "text_ids", raters={"encoding": "text"}, reward=None, policy=None),
    }
    needed = {"text_ids" if name == "text_new" else name for name in wanted}
    controls = {name: make() for name, make in variants.items() if name in needed}
    model, copies = held_by_each(recipe)
    most = held_by_passes(recipe)
    # The longest first; of ours a job for each stage, so that no core waits while another trains what is left.
    chains: list[list[Job]] = [[_vanilla(recipe, labels)]] if vanilla or sweep else []
    chains += [_stages(changed, labels_of(changed, recipe, labels)) for changed in (recipe, *controls.values())]
    side_by_side(chains, model, copies=copies, most=most)
    if vanilla:
        folders |= {"sft_no_ids": (home / "vanilla" / "sft", "none"), "vanilla": (vanilla_folder(recipe.folder, recipe), "none")}
    drawn = {"none": "none", "text_ids": "known"}
    folders |= {name: (changed.folder / changed.stages[-1], drawn.get(name, "new")) for name, changed in controls.items()}
    mains = {name: main_strength(recipe, name) for name in rivals}
    folders |= {name: (main.folder, main.draws) for name, main in mains.items()}
    if "text_ids" in folders:
        folders["text_new"] = (folders["text_ids"][0], "new")
    jobs = [job for name in rivals for job in rival_jobs(recipe, labels, name, sweep)]
    if sweep:
        jobs += _sweep_jobs(recipe, labels, wanted)
    if jobs:
        side_by_side([[job] for job in jobs], model, copies=copies, most=most)
    return folders


def train_imitations(recipe: Recipe, labels: Labels, wanted: list[str]) -> dict[str, tuple[Path, str]]:
    """As `train_policies`, where people's own answers are all there is: the stage `sft` with raters, without, with their IDs shuffled or as
    text, whatever is wanted."""
    save_start(recipe, labels)
    ours = recipe.folder / "sft"
    folders = {"base": (recipe.start, "none"), "none": (ours, "none"), "rater_known": (ours, "known"), "rater_new": (ours, "new")}
    variants = {
        "sft_no_ids": lambda: _variant(recipe, "sft_no_ids", raters={"encoding": "none"}),
        "shuffled": lambda: _variant(recipe, "shuffled", data={"shuffle_raters": True}),
        "text_new": lambda: _variant(recipe, "text_ids", raters={"encoding": "text"}),
    }
    controls = {name: make() for name, make in variants.items() if name in wanted}
    recipes = ([recipe] if {"none", "rater_known", "rater_new"} & set(wanted) else []) + list(controls.values())
    model, copies = held_by_each(recipe)
    chains = [_stages(one, labels_of(one, recipe, labels)) for one in recipes]
    side_by_side(chains, model, copies=copies, most=held_by_passes(recipe))
    return folders | {name: (one.folder / "sft", "none" if name == "sft_no_ids" else "new") for name, one in controls.items()}


def held_by_each(recipe: Recipe) -> tuple[Path, int]:
    """The folder of the weights that every process holds, and how often."""
    return Path(weights_of(recipe.start)), COPIES if recipe.model.train == "all" else COPIES_STAYING


def held_by_passes(recipe: Recipe) -> float:
    """Bytes that the largest training of a pretrained model holds, of ours or of TRL's; 0 for models from scratch, which are small."""
    if not recipe.model.path:
        return 0.0
    device = pick_device().type
    return max(estimate_vanilla(recipe, device), *(one.total for one in estimate(recipe, device)))


def costs(recipe: Recipe) -> dict[str, dict[str, float | None]]:
    """What each stage of ours, of vanilla, and each rival's took where it was trained: `updates`, `seconds`, `peak_mib`; without those that
    are not known, since the training resumed, or there was none."""
    asked = recipe.vanilla or VanillaSettings()
    vanilla, rows = recipe.folder / "vanilla", {}
    for stage, folder, arguments in (
        ("reward", vanilla / "reward", asked.reward), ("sft", vanilla / "sft", asked.sft),
        ("policy", vanilla_folder(recipe.folder, recipe), asked.rl),
    ):  # fmt: skip
        if section := getattr(recipe, stage):
            rows[stage] = (section.steps, recipe.folder / stage / FINISHED)
        rows[f"vanilla {stage}"] = (arguments.get("max_steps"), folder / INPUTS)
    for name, rival in recipe.compare.rivals.items():
        folder = main_strength(recipe, name).folder
        if rival.policy is not None:
            rows[name] = (policy_of(recipe, name).policy.steps, folder / FINISHED)
        elif rival.vanilla is not None:
            rows[name] = (rival.vanilla.get("max_steps", asked.rl.get("max_steps")), folder / INPUTS)
    taken = {name: (updates, io.read_json(record).get("cost")) for name, (updates, record) in rows.items() if record.is_file()}
    return {name: {"updates": updates} | cost for name, (updates, cost) in taken.items() if cost}


def labels_of(changed: Recipe, recipe: Recipe, labels: Labels) -> Labels:
    """The labels of a control: the recipe's own, read once, or others where it reads its data differently."""
    return labels if changed.data == recipe.data else prepare.read_data(changed)


def _stages(recipe: Recipe, labels: Labels) -> list[Job]:
    """The recipe's stages after `base`, which is trained."""
    return [(pipeline.train_stage, (recipe, stage, recipe.folder / stage, labels)) for stage in recipe.stages if stage != "base"]


def _sweep_jobs(recipe: Recipe, labels: Labels, wanted: list[str]) -> list[Job]:
    """Vanilla, ours, and ours without IDs at every beta. The stages before are trained."""
    jobs: list[Job] = []
    for i, beta in enumerate(recipe.compare.betas):
        changed, folder = _at_beta(recipe, i, beta)
        jobs.append((pipeline.train_stage, (changed, "policy", folder, labels)))
    for i, beta in enumerate(recipe.compare.vanilla_betas):
        jobs.append(_vanilla(recipe, labels, i))
        if "none" in wanted:
            changed, folder = _at_beta(_without_ids(recipe), i, beta)
            jobs.append((pipeline.train_stage, (changed, "policy", folder, labels)))
    return jobs


def main_policies(recipe: Recipe, wanted: list[str]) -> dict[str, list[Strength]]:
    """The methods wanted that have strengths, each at its main one."""
    mains = {
        "rater_new": [Strength(STRENGTH, recipe.policy.beta, recipe.folder / "policy", "new")],
        "vanilla": [Strength(STRENGTH, recipe.compare.vanilla_betas[0], vanilla_folder(recipe.folder, recipe), "none")],
    }
    mains |= {name: [main_strength(recipe, name)] for name in recipe.compare.rivals}
    return {name: main for name, main in mains.items() if name in wanted}


def swept_policies(recipe: Recipe, wanted: list[str]) -> dict[str, list[Strength]]:
    """Each swept policy at all of its strengths, the main one first."""
    betas, vanilla_betas = recipe.compare.betas, recipe.compare.vanilla_betas
    swept = {
        "rater_new": [Strength(STRENGTH, beta, _at_beta(recipe, i, beta)[1], "new") for i, beta in enumerate(betas)],
        "vanilla": [Strength(STRENGTH, beta, vanilla_folder(recipe.folder, recipe, i), "none") for i, beta in enumerate(vanilla_betas)],
    }
    if "none" in wanted:
        without = [_at_beta(_without_ids(recipe), i, beta)[1] for i, beta in enumerate(vanilla_betas)]
        swept["none"] = [Strength(STRENGTH, beta, folder, "none") for beta, folder in zip(vanilla_betas, without)]
    return swept | {name: strengths(recipe, name) for name in wanted if name in recipe.compare.rivals}


def _vanilla(recipe: Recipe, labels: Labels, i: int = 0) -> Job:
    """The training of vanilla at its beta number `i`."""
    assert recipe.vanilla is not None
    own = {"beta": recipe.compare.vanilla_betas[i]}
    return train_method, (recipe, labels, vanilla_folder(recipe.folder, recipe, i), recipe.vanilla.method, own)


def _at_beta(recipe: Recipe, i: int, beta: float) -> tuple[Recipe, Path]:
    """The recipe with its i-th beta of a sweep, and the folder of that policy; the first is the recipe's own where they agree."""
    changed = recipe.model_copy(update={"policy": recipe.policy.model_copy(update={"beta": beta})})
    return changed, recipe.folder / ("policy" if i == 0 and beta == recipe.policy.beta else f"policy-beta-{beta}")


def _variant(recipe: Recipe, name: str, **changes) -> Recipe:
    """The recipe of a control: same base checkpoint, its own folder. `changes` maps sections to what differs in them."""
    sections = {key: getattr(recipe, key).model_copy(update=value) if isinstance(value, dict) else value for key, value in changes.items()}
    # Weights that stay lie where they are; `start` holds none.
    path = recipe.model.path if recipe.model.train != "all" else str(recipe.start)
    model = recipe.model.model_copy(update={"path": path})
    return recipe.model_copy(update={"name": name, "runs": str(recipe.folder / "controls"), "base": None, "model": model, **sections})


def _without_ids(recipe: Recipe, beta: float | None = None) -> Recipe:
    """Our own three stages with encoding none: TRL's updates, samples and beta, by our code."""
    rl = recipe.vanilla.rl
    policy = {
        "algorithm": "rloo",
        "beta": recipe.compare.vanilla_betas[0] if beta is None else beta,
        "steps": rl["max_steps"],
        "lr": rl["learning_rate"],
        "samples": rl["num_generations"],
        "raters": 1,
        "options": {},
        "prompts": rl["per_device_train_batch_size"] * rl.get("gradient_accumulation_steps", 1) // rl["num_generations"],
    }
    return _variant(recipe, "none", raters={"encoding": "none"}, policy=policy)
