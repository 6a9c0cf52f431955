"""One file of rows, whatever its format: JSON (lines or one list), CSV, parquet, or a `datasets` path (folder or hub name).

Cells come back as they stand in the file: no type is guessed, so the text "NA" stays text and a column of
integers with a hole stays integers and None. CSV cells are all text. Every row keeps its number, and in text
files its line, so that an error can name it. A file that cannot be read whole is an error. Nothing here knows
what a column means.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raterhf.data.text_files import SUFFIXES, Texts, read_csv, read_json, suffix_of
from raterhf.errors import UserError
from raterhf.io import require_file
from raterhf.log import log

INSTEAD = {
    ".xlsx": "save the sheet as CSV UTF-8", ".xls": "save the sheet as CSV UTF-8", ".ods": "save the sheet as CSV in UTF-8",
    ".txt": "name it after what is in it, .csv, .tsv or .jsonl", ".ndjson": "name it .jsonl", ".zip": "unpack it",
}  # fmt: skip
"""What to do with files of other suffixes."""
BATCH = 2**16  # rows that are turned into Python objects at once
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError)  # what libraries raise of bad files


@dataclass(frozen=True)
class Rows:
    """The rows of one file. `frame` has object columns and the index 0..n-1; row i starts in `lines[i]`.

    Where rows were made of the file's, row i is of the file's `origin[i]`. `notes` say how the file was read, where that is not plain.
    """

    name: str
    frame: pd.DataFrame
    lines: list[int] | None = None
    origin: list[int] | None = None
    notes: tuple[str, ...] = ()

    def where(self, index: int) -> str:
        place = self.origin[index] if self.origin is not None else index
        line = f" (line {self.lines[place]})" if self.lines else ""
        return f"row {place + 1}{line}"


def read_rows(path: str | Path) -> Rows:
    """All rows of `path`. Raises UserError when it is missing, empty, malformed or of an unknown kind."""
    path = str(path)
    suffix = suffix_of(path)
    if Path(path).exists() and not Path(path).is_dir():
        require_file(Path(path), "data file")
    if suffix in SUFFIXES and not Path(path).is_dir():
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; check the path, which is taken from {Path.cwd()}")
        rows = _read_parquet(path) if suffix == ".parquet" else _read_text(path)
    elif Path(path).is_dir():
        rows = _read_folder(path)
    elif Path(path).is_file() or re.search(r"\.[A-Za-z]+\d?$", path):
        raise UserError(
            f"{path}: unknown suffix {suffix!r}; data are {', '.join(SUFFIXES)} files, a folder written by "
            f"datasets.save_to_disk, or a dataset's name on the hub: {INSTEAD.get(suffix, 'convert the file or correct the path')}"
        )
    else:
        rows = _read_hub(path)
    if rows.frame.empty:
        raise UserError(f"{path}: no rows; a file needs at least one: fill it or leave it out")
    return rows


def _read_text(path: str) -> Rows:
    table = read_csv(path) if suffix_of(path).removesuffix(".gz") in (".csv", ".tsv") else read_json(path)
    return Rows(path, _objects(table.columns), table.lines, notes=table.notes)


def _read_parquet(path: str) -> Rows:
    try:
        with pq.ParquetFile(path) as file:  # read_table would also take columns from the names of folders, such as split=train
            return Rows(path, from_arrow(path, file.schema_arrow, file.iter_batches(BATCH)))
    except UNREADABLE as error:  # truncated, corrupt, encrypted
        raise UserError(f"{path}: not a readable parquet file ({' '.join(str(error).split())[:200]}); write it again") from error


def _read_folder(path: str) -> Rows:
    import datasets  # costs a second

    if not any((Path(path) / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise UserError(f"{path}: a folder that datasets.save_to_disk did not write; name the files in it one by one")
    try:
        loaded = datasets.load_from_disk(path)
    except UNREADABLE as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: a damaged folder of datasets.save_to_disk ({why}); write it again") from error
    return _from_datasets(path, loaded)


def _read_hub(path: str) -> Rows:
    import datasets

    name, _, configuration = path.partition(":")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise UserError(f"{path}: no such file or folder; check the path, which is taken from {Path.cwd()}")
    _look_in_caches_without_network()
    try:
        return _from_datasets(path, datasets.load_dataset(name, configuration or None))
    except UNREADABLE as error:  # not found, not reachable, several configurations, a script
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: neither a file nor a folder, and no dataset that loads from the hub ({why}); check it, or name one configuration as "
            "in owner/name:configuration"
        ) from error


def _look_in_caches_without_network() -> None:
    """Tell the hub's libraries that there is no network, where the hub's name does not resolve: they would try for half a minute."""
    import datasets
    import huggingface_hub

    if getproxies():  # which resolve names themselves
        return
    try:
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, 443)
    except OSError:
        datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True


def _from_datasets(path: str, loaded) -> Rows:
    """A dataset of several parts becomes one; the part's name fills a `split` column where there is none."""
    parts = loaded.items() if isinstance(loaded, dict) else [(None, loaded)]
    frames = []
    for name, part in parts:
        table = part.with_format("arrow")[:]
        frame = from_arrow(path, table.schema, table.to_batches(BATCH))
        if name is not None and "split" not in frame:
            frame["split"] = pd.Series([str(name)] * len(frame), dtype=object)
        frames.append(frame)
    return Rows(path, pd.concat(frames, ignore_index=True))


def from_arrow(path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Rows of a file in Arrow's batches as a frame of object columns. Raises UserError, naming `path`, for what no cell can hold."""
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise UserError(f"{path}: column {twice[0]!r} is twice in the file; names are unique: rename one")
    columns: dict[str, list] = {name: [] for name in schema.names}
    texts = Texts()
    unread: dict[str, Exception] = {}
    for batch in batches:
        for name, found in columns.items():
            cells, why = _cells(path, name, batch.column(name), len(found))
            found.extend(map(texts.of, cells))
            if why is not None:
                unread.setdefault(name, why)
    for name, why in unread.items():
        log.warning(f"  {path}: column {name!r} holds dates that cannot be read ({why}); they count as missing")
    return _objects(columns)


def _cells(path: str, name: str, column: pa.Array, above: int) -> tuple[list, Exception | None]:
    """Cells of a column below `above` others. Dates that Python has no place for are left empty, with the reason of the first."""
    try:
        return column.to_pylist(), None
    except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:  # a year 20000, a time zone of no name, text not in UTF-8
        why, cells = error, []
    for number, cell in enumerate(column, start=above + 1):
        try:
            cells.append(cell.as_py())
        except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:
            if not pa.types.is_temporal(column.type):
                raise UserError(f"{path}: column {name!r}, row {number} cannot be read ({error}); write the file again") from error
            cells.append(None)
    return cells, why


def _objects(columns: dict) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(cells), dtype=object) for name, cells in columns.items()})
