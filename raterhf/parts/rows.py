"""Parquet files a part at a time: which parts they have, told by their footers alone, and the rows of each.

A part is of one row group, so that a reader holds no more of a file than that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raterhf.data.files import UNREADABLE, from_arrow
from raterhf.errors import UserError

ROWS = 1000  # of a part: what a killed worker has to do again


@dataclass(frozen=True, slots=True)
class Part:
    """`rows` rows of a row group, from its row `begin` on. Over all files parts are numbered from 0, and rows from 1: `first` is the number
    of the part's first."""

    number: int
    path: str
    group: int
    begin: int
    rows: int
    first: int


def files_of(path: Path) -> list[Path]:
    """A parquet file, or those of a folder by name. Raises UserError where there is none."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path, which is taken from {Path.cwd()}")
    if not files or files[0].suffix.lower() != ".parquet":
        raise UserError(
            f"{path}: workers read parquet, a file or a folder of them, which alone can be read from the middle; write it as parquet "
            "(pandas: frame.to_parquet), or leave out --engine"
        )
    return files


def parts_of(files: Sequence[Path], columns: Sequence[str], size: int = ROWS) -> list[Part]:
    """The parts of files, of `size` rows at most. Raises UserError for a file that is no parquet, lacks a column or has no rows at all."""
    parts: list[Part] = []
    first = 1
    for file in files:
        try:
            about = pq.read_metadata(file)
        except UNREADABLE as error:
            raise UserError(f"{file}: not a readable parquet file ({' '.join(str(error).split())[:200]}); write it again") from error
        names = about.schema.to_arrow_schema().names
        if missing := [name for name in columns if name not in names]:
            raise UserError(f"{file}: no column {', '.join(missing)}; it has {', '.join(names)}: add or rename columns")
        for group in range(about.num_row_groups):
            inside = about.row_group(group).num_rows
            for begin in range(0, inside, size):
                parts.append(Part(len(parts), str(file.resolve()), group, begin, min(size, inside - begin), first + begin))
            first += inside
    if not parts:
        raise UserError(f"{files[0]}: no rows; a file needs at least one: fill it or leave it out")
    return parts


class PartReader:
    """Reads the rows of parts. What comes in their order goes through a row group once."""

    def __init__(self) -> None:
        self.file: tuple[str, int] | None = None
        self.passed = 0
        self.batches: Iterator[pa.RecordBatch] = iter(())

    def read(self, part: Part) -> pd.DataFrame:
        """Its rows, as cells stand in the file. Raises UserError where the file cannot be read."""
        try:
            schema, batches = self._batches(part)
        except (*UNREADABLE, StopIteration) as error:
            why = " ".join(str(error).split())[:200] or "it ends before its last row"
            raise UserError(f"{part.path}: not a readable parquet file ({why}); write it again") from error
        return from_arrow(part.path, schema, batches)

    def _batches(self, part: Part) -> tuple[pa.Schema, list[pa.RecordBatch]]:
        if self.file != (part.path, part.group) or self.passed > part.begin:
            file = pq.ParquetFile(part.path)
            self.schema, self.batches = file.schema_arrow, file.iter_batches(ROWS, row_groups=[part.group])
            self.file, self.passed = (part.path, part.group), 0
        found, end = [], part.begin + part.rows
        while self.passed < end:
            batch = next(self.batches)
            begin = max(0, part.begin - self.passed)
            kept = batch.slice(begin, end - self.passed - begin) if begin < len(batch) else batch.slice(0, 0)
            self.passed += len(batch)
            found.append(kept)
        return self.schema, found
