"""One file of rows, whatever its format: JSON (lines or one list), CSV, parquet, or a `datasets` path (folder or hub name).

Text files are UTF-8, or UTF-16 with its mark, and may be compressed (.gz).

Cells come back as they stand in the file: no type is guessed, so the text "NA" stays text and a column of
integers with a hole stays integers and None. CSV cells are all text. Every row keeps its number, and in text
files its line, so that an error can name it. A file that cannot be read whole is an error. Nothing here knows
what a column means.
"""

import csv
import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raterhf.errors import UserError
from raterhf.io import require_file
from raterhf.log import log

SUFFIXES = (".jsonl", ".csv", ".parquet", ".json", ".tsv", ".jsonl.gz", ".csv.gz", ".json.gz", ".tsv.gz")
INSTEAD = {
    ".xlsx": "save the sheet as CSV UTF-8", ".xls": "save the sheet as CSV UTF-8", ".ods": "save the sheet as CSV in UTF-8",
    ".txt": "name it after what is in it, .csv, .tsv or .jsonl", ".ndjson": "name it .jsonl", ".zip": "unpack it",
}  # fmt: skip
"""What to do with files of other suffixes."""
SHOWN = 5
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
    readers = {".jsonl": _read_jsonl, ".json": _read_jsonl, ".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet}
    suffix = suffix_of(path)
    if Path(path).exists() and not Path(path).is_dir():
        require_file(Path(path), "data file")
    if suffix in SUFFIXES and not Path(path).is_dir():
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; check the path, which is taken from {Path.cwd()}")
        rows = readers[suffix.removesuffix(".gz")](path)
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


def suffix_of(path: str | Path) -> str:
    """The suffix in small letters: .csv, or .csv.gz of a compressed file."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    return "".join(suffixes) if suffixes[1:] == [".gz"] else "".join(suffixes[-1:])


def _decode(path: str) -> str:
    data = Path(path).read_bytes()
    if suffix_of(path).endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a readable .gz file ({error}); write it again") from error
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        encoding = "utf-16le" if b"\0" in data[:200] else "latin1"
        raise UserError(
            f"{path}: line {line} is not {'UTF-16, as its first bytes say' if wide else 'UTF-8'} (byte 0x{data[error.start]:02x}); data "
            f"files are UTF-8: save the file again, or convert it (iconv -f {encoding} -t utf-8)"
        ) from error


def _fail(path: str, rule: str, bad: list[str]) -> None:
    """Raise for the bad lines of a file, of which the first five are shown."""
    if bad:
        more = f" ... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(f"{path}: {len(bad)} bad row(s): {'; '.join(bad[:SHOWN])}{more}; {rule}")


def _read_jsonl(path: str) -> Rows:
    text = _decode(path)
    if (array := _read_array(path, text)) is not None:
        bad = [f"row {i}: {str(record)[:40]!r} is not an object" for i, record in enumerate(array, start=1) if not isinstance(record, dict)]
        _fail(path, "a list of rows holds one JSON object for each: correct or remove them", bad)
        return Rows(path, _records(path, array), notes=("one JSON list of rows, not one object a line",))
    records, lines, bad = [], [], []
    decoder = json.JSONDecoder(object_pairs_hook=_object)  # one for all lines: making it costs as much as a line
    # Not splitlines: JSON strings may hold U+2028, which that takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        lines.append(number)
        try:
            records.append(decoder.decode(line))
        except (ValueError, RecursionError) as error:  # not JSON; a number of thousands of digits, or lists nested as deep
            why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            bad.append(f"row {len(lines)} (line {number}): {why}")
            records.append({})
        if not isinstance(records[-1], dict):
            bad.append(f"row {len(lines)} (line {number}): {line[:40]!r} is not an object")
    _refuse_other_json(path, text, records, bool(bad))
    _fail(path, "every line of a .jsonl file is one JSON object: correct or remove them", bad)
    return Rows(path, _records(path, records), lines)


def _refuse_other_json(path: str, text: str, records: list[dict], failed: bool) -> None:
    """Raise UserError for JSON that is not rows, with what makes rows of it: one object over several lines, or columns as pandas writes
    them."""
    if failed and text.lstrip()[:1] == "{":
        try:
            keys = list(json.loads(text))
        except (ValueError, RecursionError):
            return  # lines, of which some are bad
        raise UserError(
            f"{path}: one JSON object with the keys {', '.join(keys[:5])}, not rows; where a list of rows is under one, write that list: "
            f"python -c \"import json; json.dump(json.load(open({path!r}))[{keys[0]!r}], open('rows.json', 'w'))\""
        )
    if len(records) == 1 and isinstance(records[0], dict) and _is_columns(records[0]):
        raise UserError(
            f"{path}: one object of columns, as pandas writes them; rows are one object each: write it again with "
            'frame.to_json(PATH, orient="records", lines=True)'
        )


def _is_columns(record: dict) -> bool:
    """Whether an object holds columns, as pandas writes them in several ways, and not one row."""
    cells = list(record.values())
    if record.keys() >= {"columns", "data"}:
        return isinstance(record["columns"], list) and isinstance(record["data"], list)
    if len(cells) < 2 or not all(isinstance(cell, dict | list) and len(cell) > 1 for cell in cells):
        return False
    texts = all(isinstance(cell, list) and not any(isinstance(item, dict | list) for item in cell) for cell in cells)
    return all(isinstance(cell, dict) for cell in cells) or (texts and len(set(map(len, cells))) == 1)


def _read_array(path: str, text: str) -> list | None:
    """The rows of a file that is one JSON list of objects; None where it is not. Raises UserError for a mistake in it."""
    if not re.match(r"\s*\[\s*[{\]]", text):
        return None
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        return None
    except json.JSONDecodeError as error:
        if re.match(r"Extra data", error.msg):
            return None  # several lists, a line each
        raise UserError(
            f"{path}: one JSON list of rows that has a mistake in line {error.lineno}, column {error.colno} ({error.msg}); a comma too "
            "many or too few, or a file that breaks off: correct it"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _records(path: str, records: list[dict]) -> pd.DataFrame:
    names = dict.fromkeys(name for record in records for name in record)
    for name in names:
        if name != name.encode("utf-8", "ignore").decode():
            raise UserError(f"{path}: key {name!r} holds half of a character (a lone surrogate), which has no UTF-8: write the key again")
    return _objects({name: [record.get(name) for record in records] for name in names})


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in found if names.count(name) > 1)!r} is twice in one object; keep one of them")
    return found


def _read_csv(path: str) -> Rows:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts above 128 KiB
    text = _decode(path)
    said = re.match(r"sep=(.)\r?\n", text)  # Excel's first line
    text, above = (text[said.end() :], 1) if said else (text, 0)
    separator = said[1] if said else _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    rows, lines, end = [], [], above
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(end + 1)
            end = above + reader.line_num
    except csv.Error as error:
        raise UserError(
            f"{path}: row {len(rows)} (line {end + 1}): {error}; a cell with commas, quotes or line breaks "
            'stands in double quotes, and a quote inside is doubled (""): correct the row'
        ) from error
    header, rows, lines = (rows[0], rows[1:], lines[1:]) if rows else ([], [], [])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} is twice in the header; names are unique: rename one")
    bad = [f"row {i} (line {line}): {len(row)} cells" for i, (row, line) in enumerate(zip(rows, lines), start=1) if len(row) != len(header)]
    _fail(path, f"the header names {len(header)} columns and every row has as many: correct them", bad)
    notes = () if separator == "," else (f"columns are separated by {separator!r}",)
    return Rows(path, _objects(dict(zip(header, zip(*rows)))), lines, notes=notes)


def _separator(text: str) -> str:
    """What separates the columns: a semicolon, a tab or a bar where the header has more of them than commas."""
    header = re.sub(r'"(""|[^"])*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max((",", ";", "\t", "|"), key=header.count)


def _read_parquet(path: str) -> Rows:
    try:
        # read_table would also take columns from the names of folders, such as split=train.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except UNREADABLE as error:  # truncated, corrupt, encrypted
        raise UserError(f"{path}: not a readable parquet file ({' '.join(str(error).split())[:200]}); write it again") from error
    return Rows(path, _from_arrow(path, table))


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
    try:
        return _from_datasets(path, datasets.load_dataset(name, configuration or None))
    except UNREADABLE as error:  # not found, not reachable, several configurations, a script
        raise UserError(
            f"{path}: neither a file nor a folder, and no dataset that loads from the hub ({error}); check it, or name one "
            "configuration as in owner/name:configuration"
        ) from error


def _from_datasets(path: str, loaded) -> Rows:
    """A dataset of several parts becomes one; the part's name fills a `split` column where there is none."""
    parts = loaded.items() if isinstance(loaded, dict) else [(None, loaded)]
    frames = []
    for name, part in parts:
        frame = _from_arrow(path, part.with_format("arrow")[:])
        if name is not None and "split" not in frame:
            frame["split"] = pd.Series([str(name)] * len(frame), dtype=object)
        frames.append(frame)
    return Rows(path, pd.concat(frames, ignore_index=True))


def _from_arrow(path: str, table: pa.Table) -> pd.DataFrame:
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise UserError(f"{path}: column {twice[0]!r} is twice in the file; names are unique: rename one")
    return _objects({name: _cells(path, name, table[name]) for name in table.column_names})


def _cells(path: str, name: str, column: pa.ChunkedArray) -> list:
    """A column's cells. Dates that Python has no place for are no text and no name: they are left empty, which is said."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:  # a year 20000, a time zone of no name, text not in UTF-8
        why, number, cells = error, 0, []
    for number, cell in enumerate(column, start=1):
        try:
            cells.append(cell.as_py())
        except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:
            if not pa.types.is_temporal(column.type):
                raise UserError(f"{path}: column {name!r}, row {number} cannot be read ({error}); write the file again") from error
            cells.append(None)
    log.warning(f"  {path}: column {name!r} holds dates that cannot be read ({why}); they count as missing")
    return cells


def _objects(columns: dict) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(cells), dtype=object) for name, cells in columns.items()})
