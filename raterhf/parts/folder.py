"""The folder that parts are written into: what was asked for, `asked.json`, and for each part `part-NUMBER.parquet`, with
`part-NUMBER.rejects.csv` before it where rows were rejected.

A part is done when its parquet file is there, which comes into its place whole. So whoever is killed leaves no part half done, and the same
command does those that are missing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raterhf import io
from raterhf.errors import UserError
from raterhf.lock import LOCK
from raterhf.parts.rows import Part

ASKED = "asked.json"
KEPT = b"raterhf"  # in a part's metadata: JSON of how many rows it was made of, and how many of them were rejected


@dataclass(frozen=True)
class Counts:
    """Parts, rows of theirs that were read, and how many of these were rejected."""

    parts: int
    rows: int
    rejected: int


def begin(folder: Path, asked: dict, files: Sequence[Path]) -> None:
    """Say in `folder` what is asked for, which depends on `asked` and the bytes of `files`.

    Raises UserError where the folder holds what was asked for otherwise, or by somebody else.
    """
    path = folder / ASKED
    for begun in folder.glob("part-*.begun"):  # by a command that was killed
        begun.unlink()
    if not path.is_file():
        if strange := sorted(one.name for one in folder.glob("*") if one.name != LOCK):
            raise UserError(f"{folder} holds {strange[0]} and no {ASKED}, so it is of something else; give a new folder with --out")
        about = [[file.name, *io.fingerprint(file)] for file in files]
        return io.write_text(path, json.dumps({"asked": asked, "files": about}, indent=1, ensure_ascii=False))
    before = io.read_json(path)
    known = [name for name, *_ in before["files"]]
    changed = [key for key, value in asked.items() if before["asked"].get(key) != value]
    changed += [str(file) for file, (_, *found) in zip(files, before["files"]) if not io.is_unchanged(file, found)]
    if changed or known != [file.name for file in files]:
        raise UserError(
            f"{folder} was begun with another {changed[0] if changed else 'list of files'}, and its parts would not belong together; give "
            "a new folder with --out, or ask as before"
        )


def done(folder: Path, part: Part) -> Path | None:
    """The file of a part that is done."""
    return path if (path := folder / f"part-{part.number:06d}.parquet").is_file() else None


def count_tries(folder: Path, part: Part) -> int:
    """How often the part was begun and not ended, this time included."""
    path = folder / f"part-{part.number:06d}.begun"
    tries = 1 + (int(path.read_text()) if path.is_file() else 0)
    io.write_text(path, str(tries))
    return tries


def write_part(folder: Path, part: Part, table: pa.Table, rejects: str, rejected: int) -> None:
    """Put a part into its place; `rejects` are rows in CSV."""
    path = folder / f"part-{part.number:06d}.parquet"
    if rejected:
        io.write_text(path.with_suffix(".rejects.csv"), rejects)
    kept = table.replace_schema_metadata({KEPT: json.dumps([part.rows, rejected])})
    io.write_file(path, lambda partial: pq.write_table(kept, partial))
    path.with_suffix(".begun").unlink(missing_ok=True)


def counts(folder: Path, parts: Sequence[Part]) -> Counts:
    """Of the parts that are done."""
    files = [file for part in parts if (file := done(folder, part))]
    found = [json.loads(pq.read_schema(file).metadata[KEPT]) for file in files]
    return Counts(len(found), sum(rows for rows, _ in found), sum(rejected for _, rejected in found))
