"""From paths to an interview: the models of a run folder side by side, or any causal language models, and the questions they are asked."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raterhf.data import prepare
from raterhf.engine.rater_policy import RaterPolicy, load_rater_policy
from raterhf.errors import UserError
from raterhf.evaluation.policies import of_recipe, vanilla_folder
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview, ProbeQuestion
from raterhf.evaluation.probes.questions import shipped_questions
from raterhf.io import on_hub, split_name
from raterhf.models import checkpoint
from raterhf.recipe import Recipe
from raterhf.recipe_reader import load_recipe
from raterhf.run_folder import check_trained
from raterhf.worlds.world import World, load_world

MAX_LENGTH, MAX_NEW_TOKENS = 2048, 256  # of a plain model, whose recipe nobody knows


def load_interview(paths: list[str], draws: int, seed: int, questions: Sequence[ProbeQuestion] = ()) -> tuple[Interview, World | None]:
    """Who is asked what. One run folder: its models, and its world's questions where it has a world. Else `[NAME=]FOLDER`s of models.

    `questions` are asked instead of the world's, or of those that come with the project. The world comes along where there is one and its
    questions are asked, since it knows the gold reward.
    """
    run = Path(paths[0])
    if len(paths) == 1 and (recipe := recipe_of(run)):
        return of_run(recipe, run, draws, seed, questions)
    policies = dict(_plain(path) for path in paths)
    if len(policies) < len(paths):
        raise UserError(f"{len(paths)} models have {len(policies)} names; name each, as in base=FOLDER vanilla=FOLDER")
    # What models are read under is the first: the one that is called base, wherever it was named.
    policies = {name: policies[name] for name in sorted(policies, key=lambda name: name != "base")}
    return Interview(policies, questions or shipped_questions(), {}, draws, seed), None


def of_run(recipe: Recipe, run: Path, draws: int, seed: int, questions: Sequence[ProbeQuestion] = ()) -> tuple[Interview, World | None]:
    """The models of a run folder, asked these questions, or its world's, or those that come with the project."""
    policies = policies_of(recipe, run)
    if not policies:
        raise UserError(f"{run} has no trained model yet; run `raterhf train` or `raterhf compare` with its recipe first")
    if questions or recipe.data.world is None:
        return Interview(policies, questions or shipped_questions(), {}, draws, seed, run=run), None
    world = load_world(recipe.data.world)
    people, labels = said_by_people(world, draws, seed), count_labels(recipe, world)
    return Interview(policies, world.questions, people, draws, seed, labels, run), world


def seeds_of_one_recipe(runs: list[str]) -> None:
    """Raise UserError where run folders are not different seeds of one recipe, over which figures may be averaged."""
    recipes = {run: recipe_of(Path(run)) for run in runs}
    if len({Path(run).resolve() for run in runs}) < len(runs) or len({recipe.seed for recipe in recipes.values()}) < len(runs):
        seeds = ", ".join(f"{run}: seed {recipe.seed}" for run, recipe in recipes.items())
        raise UserError(
            f"several runs are averaged over their seeds, which must differ ({seeds}); give one run, or name models: NAME=FOLDER"
        )
    first, *others = runs
    for run in others:
        if unlike := [key for key, value in _settings(recipes[run]).items() if value != _settings(recipes[first])[key]]:
            raise UserError(
                f"{run} is no other seed of {first}: their recipes differ in {', '.join(unlike)}; to see models side by side name them, "
                f"as in a={first}/policy b={run}/policy"
            )


def _settings(recipe: Recipe) -> dict:
    """What seeds of one recipe have in common: all but the seed, the name, and the files of a world drawn with it."""
    whole = recipe.model_dump(mode="json", exclude={"seed", "name", "runs", "monitor", "compare"})
    data = {
        key: value for key, value in whole.pop("data").items() if key not in ("comparisons", "ratings", "demonstrations", "raters", "base")
    }
    return whole | {f"data.{key}": value for key, value in data.items()}


def recipe_of(run: Path) -> Recipe | None:
    """The recipe of a run folder, from the last stage that wrote it; None where this is no run folder."""
    for stage in ("policy", "sft", "base"):
        path = run / stage / "recipe.resolved.yaml"
        if path.is_file():
            return load_recipe(str(path), [])
    return None


def policies_of(recipe: Recipe, run: Path) -> dict[str, RaterPolicy]:
    """The trained models of a run, base first: what a stage left, and the policy with fictitious raters and with nobody."""
    start = run / recipe.start.name
    folders = {"base": (start if start.is_dir() else run / "base", "none"), "sft_no_ids": (run / "vanilla" / "sft", "none")}
    folders["vanilla"] = (vanilla_folder(run, recipe), "none")
    folders |= {"sft": (run / "sft", "new"), "none": (run / "policy", "none"), "rater_new": (run / "policy", "new")}
    for folder, _ in folders.values():
        check_trained(folder)
    return {name: of_recipe(name, *there, recipe) for name, there in folders.items() if checkpoint.is_model(there[0])}


def count_labels(recipe: Recipe, world: World) -> dict[str, int]:
    """How many answers of training raters each question of a world has."""
    labels = prepare.read_data(recipe)
    train = set(labels.raters.rater_id[labels.raters.split == "train"])
    shown = labels.demonstrations
    return dict(Counter(world.question_of(p).key for p, rater in zip(shown.prompt, shown.rater_id) if rater in train))


def said_by_people(world: World, n: int, seed: int) -> dict[str, Answers]:
    """What n fresh people of a simulated world answer to each question, as well put as can be."""
    people = world.draw_people(n, seed, "probed")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x70656F70]))
    classes = world.answers(people, rng, world.questions)
    best = [[int(np.flatnonzero((q.class_of == k) & (q.wording_of == 0))[0]) for k in range(len(q.classes))] for q in world.questions]
    return {
        q.key: Answers([q.texts[best[i][k]] for k in classes[:, i]], classes[:, i]) for i, q in enumerate(world.questions)
    }  # fmt: skip


def _plain(path: str) -> tuple[str, RaterPolicy]:
    name, folder = split_name(path)
    if name == PEOPLE:
        raise UserError(f"the name {name!r} is what people go by; name the model {folder} otherwise")
    if recipe_of(folder):
        raise UserError(
            f"{folder} is a run, not a model; runs and models cannot stand side by side: give its models, as in rater_new={folder}/policy"
        )
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the folder that it lies in")
    if not folder.is_dir() and not on_hub(folder):
        raise UserError(f"{folder} does not exist; give a run folder (runs/NAME), or folders of models, each as FOLDER or NAME=FOLDER")
    draws = "new" if (folder / "raters.json").is_file() else "none"
    model = load_rater_policy(name or folder.name, folder, draws, MAX_LENGTH, MAX_NEW_TOKENS)
    window = min(MAX_LENGTH, getattr(model.policy.lm.config, "max_position_embeddings", None) or MAX_LENGTH)
    # A prompt and its answer share the window: half of it is enough for either.
    model.max_new_tokens = min(MAX_NEW_TOKENS, window // 2)
    model.renderer.max_length = window - model.max_new_tokens
    return model.name, model
