"""metrics.json: what every comparison writes beside its figures, and how.

Schema 1. `schema`, `recipe` (resolved), `seeds`, `versions` of the packages; `policies` {name: {figure: value}}; `reward_models` likewise;
`real`, what real raters get; `trainings` {stage: {updates, seconds, peak_mib}} of ours, of vanilla's and of rivals. A comparison in a
simulated world adds `intervals`, `questions`, `coherence`, `sweeps`, `equal_gold`, `seed_figures` and `frontier` (`points`: every method at
each strength; `levels`: all methods at equal gold reward); one of real people adds `options` and `discussions`;
one of rated texts `prompt`, `items`, `shares` (of each item, last of what is no item) and `intervals`; one of answers alone `people` (how
many), `prompts` and `intervals`; one of somebody's own data `prompts` and `probes`. A figure that does not exist is null.
"""

import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np

from raterhf import io
from raterhf.recipe import Recipe

SCHEMA = 1


def header(recipe: Recipe, seeds: list[int]) -> dict:
    """What was run, and with what."""
    packages = ("raterhf", "torch", "transformers", "trl", "lightning")
    return {
        "schema": SCHEMA,
        "recipe": recipe.model_dump(mode="json"),
        "seeds": seeds,
        "versions": {name: version(name) for name in packages},
    }


def write(path: Path, found: dict) -> dict:
    """Write metrics.json whole or not at all; returns what it holds."""
    plain = clean(found)
    io.write_text(path, json.dumps(plain, indent=1, ensure_ascii=False))
    return plain


def clean(value):
    """NaN and infinity become null, numpy numbers plain ones."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
