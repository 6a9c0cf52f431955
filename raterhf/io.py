"""Files written whole or not at all, JSON read with errors that name the file, and what a path on the command line means. Knows nothing of
models or data.

What is written grows beside its place under a name of its own, `.NAME.PROCESS.partial`, and is renamed when whole: a full disk or a killed
process leaves what was there before. A folder that replaces files of another is `.NAME.ready` then, while they are moved one by one; where
a kill falls between two moves, readers refuse the other (`check_whole`) until `sweep` has moved the rest. Partial files go by `sweep` too.
Files have the mode that the user's umask gives, or that of the file they replace. A power failure is not covered: nothing waits for the
disk.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from raterhf.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

GONE = ".gone"  # in a folder that is ready: JSON of the names that are removed where it goes
HALF = ".half-written"  # in a folder while files that belong together are replaced one after the other
PARTIAL, READY = re.compile(r"\..+\.\d+\.partial"), re.compile(r"\.(.+)\.ready")
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")  # open already, whatever they lead to


def write_folder(target: Path, fill: Callable[[Path], None], replaced: Sequence[str] = ()) -> None:
    """Let `fill` write into a new folder beside `target`, then move what it wrote to target's place. Other files in target stay, but those
    whose names are like one of `replaced` (`model*.safetensors`)."""
    target = target.resolve()
    fresh, ready = _partial(target), target.with_name(f".{target.name}.ready")
    try:
        _remove(fresh)
        fresh.mkdir(parents=True)
        fill(fresh)
        mode = stat.S_IMODE(fresh.stat().st_mode) & 0o666  # what the umask leaves; safetensors gives its files to the user alone
        for path in fresh.rglob("*"):
            if path.is_file():
                path.chmod(mode)
        if target.exists():
            older = [path.name for path in target.iterdir() if not (fresh / path.name).exists()]
            (fresh / GONE).write_text(json.dumps([name for name in older if any(fnmatch(name, pattern) for pattern in replaced)]))
            _remove(ready)
            os.replace(fresh, ready)
            _move_all(ready, target)
        else:
            os.replace(fresh, target)
    except (OSError, SafetensorError) as error:
        left = "it is half written" if (target / HALF).exists() else "what was there before is unchanged"
        raise UserError(f"{target} could not be written ({error}); {left}. Free some space and run again") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _move_all(ready: Path, target: Path) -> None:
    """Move what is left in `ready` into `target`, which is half written meanwhile."""
    (target / HALF).touch()
    if (ready / GONE).is_file():
        for name in json.loads((ready / GONE).read_text("utf-8")):
            _remove(target / name)
        (ready / GONE).unlink()
    for path in sorted(ready.iterdir()):
        _move(path, target / path.name)
    (target / HALF).unlink()
    ready.rmdir()


def _move(path: Path, to: Path) -> None:
    if to.is_dir() and not to.is_symlink():
        shutil.rmtree(to)
    os.replace(path, to)


def check_whole(folder: Path) -> Path:
    """The folder. Raises UserError where a killed process left some of its files of one training and some of another."""
    if (folder / HALF).exists():
        raise UserError(
            f"{folder} is half written, since its writer was stopped; run the command that wrote it again (where that was a training, "
            "run the same `raterhf train` again)"
        )
    return folder


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a file beside `path`, then put it in path's place; through a symbolic link, to where it points.

    Raises UserError where there is something that is no regular file, such as a device.
    """
    try:
        path = path.resolve()
        before = path.stat().st_mode if path.exists() else None
    except (OSError, RuntimeError) as error:  # folders that may not be read, links in a ring
        raise UserError(f"{path} could not be written ({error}); give another path") from error
    if before is not None and not stat.S_ISREG(before):
        raise UserError(f"{path} is no regular file, and only those are replaced; give another path")
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        partial.touch()
        mode = before or partial.stat().st_mode
        fill(partial)
        partial.chmod(stat.S_IMODE(mode))
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} could not be written ({error}); what was there before is unchanged. Free some space and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; into a pipe, a terminal or /dev/stdout as a shell would."""
    if not _is_stream(path):
        return write_file(path, lambda partial: partial.write_bytes(content))
    try:
        with open(path, "ab") as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"{path} could not be written ({error}); give another path") from error


def _is_stream(path: Path) -> bool:
    """Whether what is written here goes on to a reader, so that there is nothing to replace."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISFIFO(kind) or str(path.absolute()).startswith(STREAMS)


def _partial(path: Path) -> Path:
    """Where `path` grows. A killed process of the same number may have left something there."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """End the moves of killed processes in a folder and below, and remove what else they left; nobody else may be writing there."""
    for path in list(folder.rglob(".*")):
        if PARTIAL.fullmatch(path.name):
            _remove(path)
        elif found := READY.fullmatch(path.name):
            target = path.with_name(found[1])
            if target.is_dir():
                _move_all(path, target)
            else:
                _remove(path)  # somebody deleted it since


def fingerprint(path: Path) -> list:
    """By which `is_unchanged` knows a file again: bytes, time of its last change in nanoseconds, digest."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, file_digest(str(path))]


def is_unchanged(path: Path, known: list) -> bool:
    """Whether a file is what its fingerprint says. It is read only where its size agrees and its time does not, as in a copy."""
    if not path.is_file() or path.stat().st_size != known[0]:
        return False
    return path.stat().st_mtime_ns == known[1] or file_digest(str(path)) == known[2]


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
