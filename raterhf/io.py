"""Files written whole or not at all, JSON read with errors that name the file, and what a path on the command line means. Knows nothing of
models or data.

A folder is written beside its place and renamed when whole, so a full disk or a killed process leaves the previous one usable.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from raterhf.errors import UserError


def recover(target: Path) -> Path:
    """Put back what a process killed between the two renames of `write_folder` left beside its place. Returns target."""
    target = Path(target)
    left = target.with_name(f".{target.name}.old")
    if left.is_dir() and not target.exists():
        os.replace(left, target)
    return target


def write_folder(target: Path, fill: Callable[[Path], None], replaced: Sequence[str] = ()) -> None:
    """Let `fill` write into a new folder beside `target`, then put it in target's place. Files already in target stay, but those whose
    names are like one of `replaced` (`model*.safetensors`)."""
    target = recover(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fill(fresh)
        if target.exists():
            for old in target.iterdir():
                if not (fresh / old.name).exists() and not any(fnmatch(old.name, pattern) for pattern in replaced):
                    (shutil.copytree if old.is_dir() else shutil.copy2)(old, fresh / old.name)
            doomed = target.with_name(f".{target.name}.old")
            shutil.rmtree(doomed, ignore_errors=True)
            os.replace(target, doomed)
            os.replace(fresh, target)
            shutil.rmtree(doomed)
        else:
            os.replace(fresh, target)
    except OSError as error:
        raise UserError(
            f"{target} could not be written ({error}); what was there before is unchanged. Free some space and run again"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written ({error}); what was there before is unchanged. Free some space and run again"
        ) from error


def read_json(path: Path) -> dict:
    """A JSON object of a run folder. Raises UserError where it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path} is missing, so {path.parent} is no raterhf folder; give a run folder such as runs/dice")
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}, not an object")
        return found
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete its folder and train that stage again") from error


def file_digest(path: str) -> str:
    """Of a file's bytes, read in parts: weights may be larger than the memory."""
    if not Path(path).is_file():
        return "not a file"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def split_name(path: str) -> tuple[str, Path]:
    """`[NAME=]PATH` as name, empty where there is none, and path. A folder's own name may have an equals sign in it, as a sweep's has."""
    name, _, rest = ("", "", path) if Path(path).exists() else path.partition("=")
    return (name, Path(rest)) if rest else ("", Path(name))


def on_hub(path: Path) -> bool:
    """Whether this can only be a name on the hub: org/name, where neither such a folder is nor one called org."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", str(path))) and not path.exists() and not path.parent.exists()
