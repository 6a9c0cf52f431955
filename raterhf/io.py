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
from typing import TYPE_CHECKING

from raterhf.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel


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
    """Write a file of UTF-8 whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written ({error}); what was there before is unchanged. Free some space and run again"
        ) from error


def read_json(path: Path, shape: "type[BaseModel] | None" = None) -> dict:
    """A JSON object of a run folder, with the keys and types of `shape` where given. Raises UserError where it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path} is missing, so {path.parent} is no raterhf folder; give a run folder such as runs/dice")
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}, not an object")
        if shape is not None:
            _check_shape(found, shape)
        return found
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); delete its folder and train that stage again") from error


def require_file(path: Path, what: str) -> None:
    """Raise UserError where `path` is no regular file: a device or a pipe may never end, and cannot be read again."""
    if not path.exists():
        raise UserError(f"{what} {path} does not exist; check the path, which is taken from {Path.cwd()}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, a pipe or a socket"
        raise UserError(f"{what} {path} is {kind}, and a file is needed; give one, or write what it says into a file first")


def _check_shape(found: dict, shape: "type[BaseModel]") -> None:
    from pydantic import ValidationError  # here, so that help needs none

    try:
        shape.model_validate(found, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"`{'.'.join(map(str, first['loc']))}`: {first['msg'][0].lower()}{first['msg'][1:]}") from error


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
