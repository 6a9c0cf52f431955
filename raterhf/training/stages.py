"""The stages of a recipe, in order: base, reward, sft, policy. Each reads the folders of those before it and writes its own.

A finished stage is skipped unless what it depends on changed (its part of the recipe, its data, an earlier stage); then it says what
changed and runs again. An interrupted stage resumes.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from raterhf.data.batches import Renderer, step_indices
from raterhf.data.corpus import read_corpus
from raterhf.data.make import require_made
from raterhf.models import checkpoint
from raterhf.models.own_noise import make_own_noise
from raterhf.models.policy import Policy
from raterhf.raters.space import RaterSpace
from raterhf.recipe import Recipe, dump_recipe
from raterhf.training import prepare
from raterhf.training.collapse import Collapse
from raterhf.training.fit import clear_state, fit
from raterhf.training.policy_module import PolicyModule
from raterhf.training.policy_stage import carry_own_noise, run_policy
from raterhf.training.reward_stage import fit_populations, run_reward
from raterhf.training.rollouts import Imitation
from raterhf.training.start import all_prompts, all_texts, new_model, pool_without_vectors, rater_texts, start_model, watch

# What each stage depends on, beside the stages before it. Keys of the recipe.
DEPENDS = {
    "base": ("seed", "model", "base", "data.base", "data.columns"),
    "reward": (
        "seed",
        "model",
        "raters",
        "reward",
        "data.comparisons",
        "data.ratings",
        "data.demonstrations",
        "data.raters",
        "data.columns",
        "data.split",
        "data.shuffle_raters",
        "data.held_out",
        "data.group_column",
        "data.validate_share",
        "data.max_bad",
        "data.max_dropped",
    ),
    "sft": (
        "seed",
        "model",
        "raters",
        "sft",
        "data.demonstrations",
        "data.comparisons",
        "data.ratings",
        "data.raters",
        "data.columns",
        "data.split",
        "data.shuffle_raters",
        "data.group_column",
        "data.validate_share",
        "data.max_bad",
        "data.max_dropped",
    ),
    "policy": ("seed", "raters", "policy"),
}
RECORDS = ("stage.json", "started.json")  # of a folder of ours: when it was written, not what is in it
FILES = ("data.base", "data.comparisons", "data.ratings", "data.demonstrations", "data.raters")


def train(recipe: Recipe) -> Path:
    """Run the recipe's stages; returns the folder of the last."""
    require_made(recipe.data.world, recipe.data.files)
    if len(recipe.stages) > 1:
        prepare.read_data(recipe)  # what is wrong with the labels is said before a model is trained for them
    last = recipe.folder
    for stage in recipe.stages:
        last = recipe.folder / stage
        train_stage(recipe, stage, last)
    return last


def train_stage(recipe: Recipe, stage: str, folder: Path) -> None:
    """Run one stage into `folder` (the stages before it lie in the recipe's own folders), unless it is done."""
    inputs = _inputs(recipe, stage)
    if _finished(folder, inputs):
        print(f"{folder.name}: done before, skipped ({folder})", flush=True)
        return
    print(f"{folder.name}: training in {folder}", flush=True)
    RUN[stage](recipe, folder)
    checkpoint.write_text(folder / "recipe.resolved.yaml", dump_recipe(recipe))
    checkpoint.write_text(folder / "stage.json", json.dumps({"finished": True, "inputs": inputs}, indent=1))
    clear_state(folder)


def _inputs(recipe: Recipe, stage: str) -> dict:
    """All that the stage's result depends on, by key; files by a hash of their bytes, earlier stages by their weights'."""
    everything = recipe.model_dump(mode="json")
    inputs: dict = {}
    for earlier in recipe.stages[: recipe.stages.index(stage)]:
        names = ("model.safetensors", "raterhf.safetensors", "raters.safetensors")
        inputs[f"stage {earlier}"] = [file_digest(str(recipe.folder / earlier / name)) for name in names]
    if stage != "reward" and recipe.probes and recipe.probes.alarm == "slow":
        inputs["probes"] = everything["probes"]  # other probes look and leave the weights alone
    for key in DEPENDS[stage]:
        section, _, name = key.partition(".")
        value = everything[section][name] if name else everything[section]
        if key == "model" and value["path"]:
            value = value | {"files": [[path.name, file_digest(str(path))] for path in _model_files(value["path"])]}
        if key in FILES and value:
            value = [[path, file_digest(path)] for path in ([value] if isinstance(value, str) else value)]
        inputs[key] = value
    return inputs


def _model_files(path: str) -> list[Path]:
    """The files of a model folder that a training from it depends on; none of a hub name."""
    return sorted(file for kind in ("*.safetensors", "*.json", "*.jinja") for file in Path(path).glob(kind) if file.name not in RECORDS)


def file_digest(path: str) -> str:
    """Of a file's bytes, read in parts: weights may be larger than the memory."""
    if not Path(path).is_file():
        return "not a file"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _finished(folder: Path, inputs: dict) -> bool:
    """Whether the stage is done with these inputs; says what changed where it was done with others."""
    record, started = folder / "stage.json", folder / "started.json"
    there = next((path for path in (record, started) if path.is_file()), None)
    before = checkpoint.read_json(there) if there else None
    if before is not None:
        known = before.get("inputs") or {}
        changed = [key for key in inputs | known if known.get(key) != inputs.get(key)]
        if not changed:
            return record.is_file()
        again = "trained again" if record.is_file() else "begun again"
        print(f"{folder.name}: {again}, since {', '.join(changed)} changed", flush=True)
        clear_state(folder)
        record.unlink(missing_ok=True)
    checkpoint.write_text(started, json.dumps({"inputs": inputs}))
    return False


def run_base(recipe: Recipe, folder: Path) -> None:
    rows = read_corpus(recipe.data.base, recipe.data.columns)
    prompts, completions = list(rows.prompt), list(rows.completion)
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    lm, tokenizer = new_model(recipe, texts + completions + [recipe.raters.text_template.format("0123456789")])
    renderer = Renderer(tokenizer, recipe.model.max_length)
    examples = [renderer.example(p, c) for p, c in zip(prompts, completions)]
    policy = Policy(lm, 0, 0)
    probes = watch(recipe, folder, recipe.base.steps, policy, renderer, None, prompts, trained=bool(recipe.model.path))
    _fit_imitation(recipe, folder, policy, recipe.base, lambda rows, step: _plain(examples, rows), len(examples), probes)
    checkpoint.save_policy(folder, policy, tokenizer, None, recipe.model.max_length, {})


def _plain(examples: list, rows: np.ndarray) -> Imitation:
    return Imitation(
        [examples[i] for i in rows], torch.zeros(len(rows), 1), torch.ones(len(rows), dtype=torch.bool), torch.ones(len(rows)), {}
    )


def _fit_imitation(recipe, folder, policy, settings, make_rows, n, probes: Collapse | None, space: RaterSpace | None = None) -> None:
    module = PolicyModule(policy, recipe.seed, space=space)
    rates = {"policy.reader.": recipe.raters.reader_lr} | ({"space.": settings.vector_lr} if space else {})

    def batch(step: int) -> Imitation:
        return make_rows(step_indices(np.zeros(n, np.int64), settings.batch_size, 1, step, recipe.seed), step)

    fit(module, batch, settings, folder, rates, recipe.tensorboard, probes)


def run_sft(recipe: Recipe, folder: Path) -> None:
    labels = prepare.read_data(recipe)
    people = prepare.find_people(labels)
    lm, tokenizer = start_model(recipe, all_texts(labels))
    raters = recipe.raters
    soft = raters.encoding == "embedding"
    pool = checkpoint.load_pool(recipe.folder / "reward") if soft else pool_without_vectors(recipe, people)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    examples, rater = prepare.demonstration_data(labels, window, pool.ids, rater_texts(recipe, people), recipe.sft.source)
    torch.manual_seed(recipe.seed)
    policy = Policy(lm, pool.dim if soft else 0, raters.tokens, make_own_noise(pool.own_dim if soft else 0, lm, tokenizer))
    vectors = torch.tensor(pool.vectors)
    noise = recipe.sft.noise * vectors.std(0).mean() if soft else 0.0

    def batch(rows: np.ndarray, step: int) -> Imitation:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        if not soft:
            return _plain(examples, rows)
        taste = vectors[rater[rows]]
        taste = taste + noise * torch.randn(taste.shape, generator=generator)
        null = torch.rand(len(rows), generator=generator) < raters.null_share
        learned = torch.as_tensor(rater[rows]) if space else None
        return Imitation([examples[i] for i in rows], taste, null, torch.ones(len(rows)), {}, learned)

    space = None
    if soft and recipe.sft.learn_vectors:
        space = RaterSpace(len(pool.ids), pool.dim, recipe.sft.noise)
        space.vectors.data.copy_(vectors)
    watched = pool if raters.encoding != "none" else None
    trained = bool(recipe.base or recipe.model.path)
    probes = watch(recipe, folder, recipe.sft.steps, policy, window.renderer, watched, all_prompts(labels), trained=trained)
    _fit_imitation(recipe, folder, policy, recipe.sft, batch, len(examples), probes, space)
    if space is not None:
        pool.vectors = space.vectors.detach().cpu().numpy().copy()
        fit_populations(recipe, pool)
    carry_own_noise(recipe, policy, tokenizer, labels, pool)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})


RUN = {"base": run_base, "reward": run_reward, "sft": run_sft, "policy": run_policy}
