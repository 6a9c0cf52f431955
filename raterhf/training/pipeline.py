"""The stages of a recipe, in order: base, reward, sft, policy. Each reads the folders of those before it and writes its own.

A finished stage is skipped unless what it depends on changed (its part of the recipe, its data, an earlier stage) or what it wrote is gone;
then it says what and runs again. An interrupted stage resumes. Whoever calls `train_stage` holds the run folder (`lock.py`); `train` does.

Where several processes train (`ranks.py`), each calls this alike. The first holds the folder and writes, the others read what it wrote.
"""

import json
from contextlib import nullcontext
from pathlib import Path

import torch

from raterhf import io
from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.engine.memory import cost_of
from raterhf.errors import UserError
from raterhf.io import file_digest
from raterhf.lock import hold_run
from raterhf.log import log
from raterhf.models.adapters import ADAPTER
from raterhf.models.checkpoint import FINISHED, STARTED, STATE, WEIGHTS
from raterhf.models.four_bit import check_four_bit
from raterhf.models.place import pick_device
from raterhf.recipe import Recipe
from raterhf.recipe_reader import dump_recipe
from raterhf.training import ranks
from raterhf.training.algorithms.base import load_algorithm
from raterhf.training.estimate import check_room
from raterhf.training.fit import clear_state
from raterhf.training.kept_back import know_kept_back
from raterhf.training.launch import check_trainer, launch
from raterhf.training.loggers import check_logger
from raterhf.training.needs import check_labels
from raterhf.training.stages.base import run_base
from raterhf.training.stages.policy import run_policy
from raterhf.training.stages.reward import run_reward
from raterhf.training.stages.sft import run_sft
from raterhf.worlds.make import require_made

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
        "data.labels",
        "data.within",
        "data.pairs_per_rater",
        "data.preset",
        "data.prefix_raters",
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
        "data.labels",
        "data.within",
        "data.pairs_per_rater",
        "data.preset",
        "data.prefix_raters",
        "data.held_out",
        "data.group_column",
        "data.validate_share",
        "data.max_bad",
        "data.max_dropped",
        "data.base",
    ),
    "policy": ("seed", "raters", "policy", "data.base"),
}
MEMORY = ("micro_batch_tokens", "gradient_checkpointing")  # keys of `model` that gradients do not depend on
FILES = ("data.base", "data.comparisons", "data.ratings", "data.demonstrations", "data.raters")


def train(recipe: Recipe) -> Path:
    """Run the recipe's stages, then make the raters kept for validation known; returns the folder of the last stage.

    Where the recipe asks for several processes and this is none of them, they are started, and waited for.
    """
    require_made(recipe.data.world, recipe.data.files)
    processes = check_trainer(recipe.trainer, recipe.shared)
    if processes > 1 and not ranks.started():
        launch(dump_recipe(recipe), processes)
        return recipe.folder / recipe.stages[-1] if recipe.stages else recipe.folder
    with ranks.joined():
        return _train(recipe)


def _train(recipe: Recipe) -> Path:
    if recipe.policy:
        load_algorithm(recipe.policy)  # what is wrong with labels and options shows before a model is trained
    labels = prepare.read_data(recipe) if set(recipe.stages) - {"base"} else None
    if labels is not None:
        check_labels(labels, recipe.raters.encoding, recipe.reward is not None, recipe.sft and recipe.sft.source)
        for sentence in labels.counts["notices"]:
            log.warning(f"  {sentence}")
    last = recipe.folder
    if recipe.model.path and (device := pick_device()).type == "cuda":
        check_room(recipe, "cuda", torch.cuda.get_device_properties(device).total_memory)
    with hold_run(recipe.folder) if ranks.first() else nullcontext():
        ranks.wait()
        for stage in recipe.stages:
            last = recipe.folder / stage
            train_stage(recipe, stage, last, labels)
        if labels is not None and (recipe.reward or recipe.sft) and recipe.raters.encoding == "embedding" and ranks.first():
            conditioning = recipe.reward.conditioning if recipe.reward else None
            know_kept_back(recipe.folder, recipe.stages, labels, conditioning, recipe.data.max_dropped)
    return last


def train_stage(recipe: Recipe, stage: str, folder: Path, labels: Labels | None = None) -> None:
    """Run one stage into `folder` (the stages before it lie in the recipe's own folders), unless it is done.

    `labels` are the recipe's data, read here where they are not given.
    """
    check_logger(recipe.logger)
    if recipe.model.load == "4bit":
        check_four_bit(pick_device())
    inputs = _inputs(recipe, stage) if ranks.first() else {}
    if ranks.of_first(lambda: _finished(folder, inputs)):
        if ranks.first():
            clear_state(folder)  # of a process killed after its last record
        log.info(f"{folder.name}: done before, skipped ({folder})")
        return
    log.info(f"{folder.name}: training in {folder}")
    whole = not (folder / "state" / STATE).is_file()
    if stage == "base":
        cost = cost_of(lambda: run_base(recipe, folder))
    else:
        read = prepare.read_data(recipe) if labels is None else labels
        cost = cost_of(lambda: RATED[stage](recipe, folder, read))
    if ranks.first():
        _record(recipe, folder, inputs, cost if whole else None)
    ranks.wait()


def _record(recipe: Recipe, folder: Path, inputs: dict, cost: dict | None) -> None:
    """Say that a stage is done, with what, and at what cost: None where it resumed, since this process saw the rest of it alone."""
    io.write_text(folder / "recipe.resolved.yaml", dump_recipe(recipe))
    outputs = {path.name: io.fingerprint(path) for path in _model_files(folder)}
    record = {"finished": True, "inputs": inputs, "outputs": outputs} | ({"cost": cost} if cost else {})
    io.write_text(folder / FINISHED, json.dumps(record, indent=1))
    clear_state(folder)


def _inputs(recipe: Recipe, stage: str) -> dict:
    """All that the stage's result depends on, by key; files by a hash of their bytes, earlier stages by their weights'."""
    everything = recipe.model_dump(mode="json")
    inputs: dict = {}
    for earlier in recipe.stages[: recipe.stages.index(stage)]:
        names = (WEIGHTS.get(earlier, WEIGHTS["policy"]), ADAPTER, "raterhf.safetensors", "raters.safetensors")
        inputs[f"stage {earlier}"] = [file_digest(str(recipe.folder / earlier / name)) for name in names]
    if stage != "reward" and recipe.monitor and recipe.monitor.alarm == "slow":
        inputs["monitor"] = everything["monitor"]  # other alarms look and leave the weights alone
    for key in DEPENDS[stage]:
        section, _, name = key.partition(".")
        value = everything[section][name] if name else everything[section]
        if key == "model":
            value = {name: setting for name, setting in value.items() if name not in MEMORY}
        if key == "model" and value["path"]:
            value = value | {"files": [[path.name, file_digest(str(path))] for path in _model_files(value["path"])]}
        if key in FILES and value:
            value = [[path, file_digest(path)] for path in ([value] if isinstance(value, str) else value)]
        inputs[key] = value
    return inputs


def _model_files(path: str | Path) -> list[Path]:
    """The files of a model folder that make the model, but not our records of its training; none of a hub name."""
    files = (file for kind in ("*.safetensors", "*.json", "*.jinja") for file in Path(path).glob(kind))
    return sorted(file for file in files if file.name not in (FINISHED, STARTED))


def _finished(folder: Path, inputs: dict) -> bool:
    """Whether the stage is done with these inputs, and its files are there; says what changed where it is not.

    Raises UserError where a file is another than the training wrote: to train again would overwrite it.
    """
    record, started = folder / FINISHED, folder / STARTED
    there = next((path for path in (record, started) if path.is_file()), None)
    before = io.read_json(there) if there else None
    if before is not None:
        known = before.get("inputs") or {}
        changed = [key for key in inputs | known if known.get(key) != inputs.get(key)]
        gone = [] if changed else _check_outputs(folder, before.get("outputs", {}))
        if not changed and not gone:
            return record.is_file()
        again = "trained again" if record.is_file() else "begun again"
        why = f"{', '.join(gone)} is gone" if gone else f"{', '.join(changed)} changed"
        log.info(f"{folder.name}: {again}, since {why}")
        clear_state(folder)
        record.unlink(missing_ok=True)
    io.write_text(started, json.dumps({"inputs": inputs}))
    return False


def _check_outputs(folder: Path, outputs: dict[str, list]) -> list[str]:
    """The files that a finished stage wrote and that are gone. Raises UserError for one that is not as it was written."""
    for name, known in outputs.items():
        if (folder / name).is_file() and not io.is_unchanged(folder / name, known):
            raise UserError(
                f"{folder / name} is not what the training wrote (damaged, or changed since); put that file back, or delete {folder} to "
                "train the stage again"
            )
    return [name for name in outputs if not (folder / name).is_file()]


RATED = {"reward": run_reward, "sft": run_sft, "policy": run_policy}  # stages that read labels
