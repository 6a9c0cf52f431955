"""`raterhf data make`: puts a simulated world's files in a folder, and never destroys what is there unasked."""

import json
import shutil
import tempfile
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.errors import UserError
from raterhf.io import write_file
from raterhf.worlds.world import base_corpus, label_people, load_world


def worlds() -> list[str]:
    """Names of the simulated worlds."""
    return sorted(path.name.removesuffix(".yaml") for path in files("raterhf.worlds").iterdir() if path.name.endswith(".yaml"))


def make_world(name: str, seed: int, out: Path, force: bool = False) -> str:
    """Write the files of world `name` into `out`; returns what was done, in words.

    Raises UserError where `out` holds other files: the world's with other bytes, or none of the world's at all. `force` replaces them.
    """
    if name not in worlds():
        raise UserError(f"world {name!r} is not known; there are: {', '.join(worlds())}")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as fresh:
        world_files(Path(fresh), seed, name)
        made = sorted(Path(fresh).iterdir())
        there = [path for path in made if (out / path.name).exists()]
        differ = [path.name for path in there if (out / path.name).read_bytes() != path.read_bytes()]
        if len(there) == len(made) and not differ:
            return f"{out}: already there, byte for byte ({len(made)} files)"
        if not force and (differ or (out.is_dir() and not there and any(out.iterdir()))):
            what = f"holds other {', '.join(differ)}" if differ else "is not empty"
            raise UserError(f"{out} {what}; nothing was changed: give another --out, or --force to replace them")
        out.mkdir(exist_ok=True)
        for path in made:
            write_file(out / path.name, partial(shutil.copyfile, path))
    return f"{out}: {', '.join(path.name for path in made)}"


def world_files(folder: Path, seed: int, name: str) -> None:
    """Write the world's data files; the same seed gives the same bytes."""
    world = load_world(name)
    folder.mkdir(parents=True, exist_ok=True)
    train = world.draw_people(world.n_train, seed, "t")
    validate = world.draw_people(world.n_validate, seed, "v")
    parts = [label_people(world, people, seed) for people in (train, validate)]
    for kind in parts[0]:
        frame = pd.concat([part[kind] for part in parts], ignore_index=True)
        frame.to_csv(folder / f"{kind}.csv", index=False, lineterminator="\n")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 13]))
    with open(folder / "raters.jsonl", "w", encoding="utf-8", newline="\n") as file:
        for people, split in ((train, "train"), (validate, "validate")):
            for rater_id, kind in zip(people.ids, people.types):
                persona = world.types[kind] if rng.random() < 0.25 else None
                file.write(json.dumps({"rater_id": rater_id, "persona": persona, "split": split}) + "\n")
    base_corpus(world, seed).to_csv(folder / "base.csv", index=False, lineterminator="\n")


def require_made(world: str | None, paths: list[str]) -> None:
    """Raise UserError, naming the command that makes them, where files of a simulated world are not there."""
    absent = [path for path in paths if not Path(path).exists()]
    if world and absent:
        out = Path(absent[0]).parent
        raise UserError(f"{absent[0]}: no such file (from {Path.cwd()}); make the world's files: raterhf data make {world} --out {out}")
