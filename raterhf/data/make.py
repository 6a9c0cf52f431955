"""`raterhf data make`: puts a simulated world's files in a folder, and never destroys what is there unasked."""

import os
import tempfile
from importlib.resources import files
from pathlib import Path

from raterhf.data.worlds import dice_files
from raterhf.errors import UserError


def make_world(name: str, seed: int, out: Path, force: bool = False) -> str:
    """Write the files of world `name` into `out`; returns what was done, in words.

    Raises UserError where `out` holds other files: the world's with other bytes, or none of the world's at all. `force` replaces them.
    """
    worlds = sorted(path.name.removesuffix(".yaml") for path in files("raterhf.data").iterdir() if path.name.endswith(".yaml"))
    if name not in worlds:
        raise UserError(f"world {name!r} is not known; there are: {', '.join(worlds)}")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as fresh:
        dice_files(Path(fresh), seed, name=name)
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
            os.replace(path, out / path.name)
    return f"{out}: {', '.join(path.name for path in made)}"
