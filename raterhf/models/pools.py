"""The pools of raters of a run's stages: changed together, so that finished stages stay finished."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from raterhf.errors import UserError
from raterhf.io import file_digest, read_json, write_text
from raterhf.log import log
from raterhf.models.checkpoint import FINISHED, STARTED, load_pool, replace_pool
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population, fit_population

POOL = "raters.safetensors"
COMPONENTS, SCALES = [1, 2], [0.9, 1.0, 1.1]  # candidates of a persona's population
RECORDS = (FINISHED, STARTED)


def add_raters(
    run: Path, stages: Sequence[str], raters: Sequence[tuple[str, np.ndarray, np.ndarray, str | None]]
) -> list[Path]:  # fmt: skip
    """Make people (ID, vector [k], its covariance [k, k], group) known raters of these stages of a run; returns the folders.

    An ID that is known gets its new vector; populations stay. A stage that knows them so already is left as it is. A stage whose vectors
    are in another space (`sft.learn_vectors`) is left out with a warning. Raises UserError where `stages` is one of several that know
    raters.
    """
    there = {path.parent.name: load_pool(path.parent) for path in sorted(run.glob("*/raters.json"))}
    if len(stages) == 1 and (others := [name for name in there if name != stages[0]]):
        raise UserError(f"{run / stages[0]} is one stage of {run}, whose stages {', '.join(others)} know raters too; give {run}")
    changed = {}
    for stage in [stage for stage in stages if stage in _in_one_space(run, there, "nobody is")]:
        pool = there[stage].with_raters(raters)
        if pool.known != there[stage].known or not np.array_equal(pool.vectors, there[stage].vectors):
            changed[run / stage] = pool
    replace_pools(run, changed)
    return list(changed)


def _in_one_space(run: Path, pools: dict[str, RaterPool], what: str) -> dict[str, RaterPool]:
    """The pools of stages whose vectors are the reward model's; of others it says that `what` is added there."""
    space, found = pools.get("reward", next(iter(pools.values()))).population.means, {}
    for stage, pool in pools.items():
        if np.array_equal(pool.population.means, space):
            found[stage] = pool
        else:
            log.warning(f"  {run / stage}: its vectors are others than the reward model's (sft.learn_vectors), so {what} added there")
    return found


def add_priors(run: Path, priors: Mapping[str, Population]) -> list[Path]:
    """Make populations personas of a run's stages that no known rater belongs to, in place of those of these names; returns the folders.

    A stage whose vectors are in another space is left out with a warning. Raises UserError where `run` is no run folder.
    """
    there = {folder.name: load_pool(folder) for folder in _folders(run)}
    named = {f"persona:{name}": prior for name, prior in priors.items()}
    changed = {
        run / stage: replace(pool, populations=pool.populations | named)
        for stage, pool in _in_one_space(run, there, "no persona is").items()
    }
    replace_pools(run, changed)
    return list(changed)


def _folders(run: Path) -> list[Path]:
    """The folders of a run's stages that know raters."""
    if not (folders := [path.parent for path in sorted(run.glob("*/raters.json"))]):
        raise UserError(f"{run} is no run folder whose stages know raters; give the folder that `raterhf train RECIPE` wrote")
    return folders


def add_personas(run: Path, personas: Mapping[str, Sequence[str]], seed: int) -> list[Path]:
    """Make sets of known raters personas of a run's stages, in place of those of these names; returns the folders.

    Each has a population of its own, fitted to its members' vectors in each stage. Raises UserError where `run` is one stage of several.
    """
    changed = {}
    for folder in _folders(run):
        pool = load_pool(folder)
        if strangers := [one for members in personas.values() for one in members if one not in pool.index]:
            log.warning(f"  {folder}: {strangers[0]!r} is not known there ({len(strangers)} such raters), so it gets no personas")
            continue
        fitted = {}
        for name, members in personas.items():
            vectors = pool.vectors[[pool.index[one] for one in members]]
            fitted[f"persona:{name}"], _ = fit_population(vectors, COMPONENTS, SCALES, seed)
        named = pool.personas | {name: list(members) for name, members in personas.items()}
        changed[folder] = replace(pool, personas=named, populations=pool.populations | fitted)
    replace_pools(run, changed)
    return list(changed)


def replace_pools(run: Path, pools: Mapping[Path, RaterPool]) -> None:
    """Put other pools in model folders' places, and their digests where later stages of the run remember the old ones.

    A process killed in between leaves later stages that are trained again, to the same weights.
    """
    digests = {}
    for folder, pool in pools.items():
        before = file_digest(str(folder / POOL))
        replace_pool(folder, pool)
        digests[before] = file_digest(str(folder / POOL))
    for path in (path for name in RECORDS for path in sorted(run.rglob(name))):
        record = read_json(path)
        for key, value in record["inputs"].items():
            if key.startswith("stage "):
                record["inputs"][key] = [digests.get(digest, digest) for digest in value]
        write_text(path, json.dumps(record, indent=1))
