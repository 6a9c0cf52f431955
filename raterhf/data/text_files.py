"""Rows of text files, JSON and CSV: columns of cells, and the line that each row begins in.

Files are UTF-8, or UTF-16 with its mark, and may be compressed (.gz). JSON lines and CSV are read line by line, and every different text is
held once, so that a file may be larger than memory where its texts recur. One JSON list is read whole.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raterhf.errors import UserError

SUFFIXES = (".jsonl", ".csv", ".parquet", ".json", ".tsv", ".jsonl.gz", ".csv.gz", ".json.gz", ".tsv.gz")
"""Of all data files, tables too."""
SHOWN = 5
PEEKED = 2**16  # bytes that tell how a file goes on
WIDE = (b"\xff\xfe", b"\xfe\xff")
_ARRAY = re.compile(r"\s*\[\s*[{\]]")


class Texts(dict[str, str]):
    """Every different text once: equal ones become the same object."""

    def __missing__(self, text: str) -> str:
        self[text] = text
        return text

    def of(self, cell: Any) -> Any:
        return self[cell] if type(cell) is str else cell


@dataclass
class Table:
    """Columns of cells, the line of each row, and how the file was read where that is not plain."""

    columns: dict[str, list] = field(default_factory=dict)
    lines: list[int] | None = None
    notes: tuple[str, ...] = ()


def suffix_of(path: str | Path) -> str:
    """The suffix in small letters: .csv, or .csv.gz of a compressed file."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    return "".join(suffixes) if suffixes[1:] == [".gz"] else "".join(suffixes[-1:])


def read_lines(path: str) -> Iterator[str]:
    """The lines of a text file with their ends. Raises UserError for bytes that are no text."""
    for number, line in enumerate(_open(path), start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")  # spreadsheets write a byte-order mark
        except UnicodeDecodeError as error:
            encoding = "utf-16le" if b"\0" in line else "latin1"
            raise UserError(
                f"{path}: line {number} is not UTF-8 (byte 0x{line[error.start]:02x}); data files are UTF-8: save the file again, or "
                f"convert it (iconv -f {encoding} -t utf-8)"
            ) from error


def _open(path: str) -> Iterator[bytes]:
    """The lines of a file as bytes of UTF-8, not those of UTF-16."""
    compressed = suffix_of(path).endswith(".gz")
    try:
        with gzip.open(path) if compressed else open(path, "rb") as file:
            first = file.read(2)
            file.seek(0)
            if first not in WIDE:
                yield from file  # at line feeds alone: JSON strings may hold U+2028, which str.splitlines takes for one
                return
            try:
                yield from file.read().decode("utf-16").encode("utf-8", "surrogatepass").splitlines(keepends=True)
            except UnicodeDecodeError as error:
                raise UserError(f"{path}: not UTF-16, which its first bytes say ({error.reason}); save the file again in UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        if not compressed:
            raise
        raise UserError(f"{path}: not a readable .gz file ({error}); write it again") from error


def refuse_bad(path: str, rule: str, bad: list[str]) -> None:
    """Raise UserError for the bad lines of a file, of which the first five are shown."""
    if bad:
        more = f" ... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(f"{path}: {len(bad)} bad row(s): {'; '.join(bad[:SHOWN])}{more}; {rule}")


def read_json(path: str) -> Table:
    """JSON objects, one a line or in one list. Raises UserError for what is neither."""
    start = ""
    for line in read_lines(path):
        start += line
        if start.strip() or len(start) > PEEKED:
            break
    if start.lstrip()[:1] == "[" and (array := _read_array(path)) is not None:
        bad = [f"row {i}: {str(record)[:40]!r} is not an object" for i, record in enumerate(array, start=1) if not isinstance(record, dict)]
        refuse_bad(path, "a list of rows holds one JSON object for each: correct or remove them", bad)
        table = Table(notes=("one JSON list of rows, not one object a line",))
        for i, record in enumerate(array):
            _add(table.columns, record, i)
        return _even(path, table, len(array))
    return _read_objects(path)


def _read_objects(path: str) -> Table:
    """JSON objects, one a line."""
    table, lines, bad, texts = Table(), [], [], Texts()

    def made(pairs: list[tuple[str, Any]]) -> dict:
        return _object([(name, texts.of(cell)) for name, cell in pairs])

    decoder = json.JSONDecoder(object_pairs_hook=made)  # one for all lines: making it costs as much as a line
    record: Any = None
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        lines.append(number)
        try:
            record = decoder.decode(line)
        except (ValueError, RecursionError) as error:  # not JSON; a number of thousands of digits, or lists nested as deep
            why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            bad.append(f"row {len(lines)} (line {number}): {why}")
            continue
        if not isinstance(record, dict):
            bad.append(f"row {len(lines)} (line {number}): {line.strip()[:40]!r} is not an object")
            continue
        _add(table.columns, record, len(lines) - 1)
    if bad:
        _refuse_one_object(path)
    refuse_bad(path, "every line of a .jsonl file is one JSON object: correct or remove them", bad)
    if len(lines) == 1 and _is_columns(record):
        raise UserError(
            f"{path}: one object of columns, as pandas writes them; rows are one object each: write it again with "
            'frame.to_json(PATH, orient="records", lines=True)'
        )
    table.lines = lines
    return _even(path, table, len(lines))


def _add(columns: dict[str, list], record: dict, place: int) -> None:
    for name, cell in record.items():
        cells = columns.get(name)
        if cells is None:
            cells = columns[name] = []
        if len(cells) < place:
            cells.extend([None] * (place - len(cells)))
        cells.append(cell)


def _even(path: str, table: Table, rows: int) -> Table:
    """The table with all columns of one length."""
    for name, cells in table.columns.items():
        if name != name.encode("utf-8", "ignore").decode():
            raise UserError(f"{path}: key {name!r} holds half of a character (a lone surrogate), which has no UTF-8: write the key again")
        cells.extend([None] * (rows - len(cells)))
    return table


def _read_array(path: str) -> list | None:
    """The rows of a file that is one JSON list of objects; None where it is not. Raises UserError for a mistake in it."""
    text = "".join(read_lines(path))
    if not _ARRAY.match(text):
        return None
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        return None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None  # several lists, a line each
        raise UserError(
            f"{path}: one JSON list of rows that has a mistake in line {error.lineno}, column {error.colno} ({error.msg}); a comma too "
            "many or too few, or a file that breaks off: correct it"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _refuse_one_object(path: str) -> None:
    """Raise UserError for one JSON object over several lines, with what makes rows of it."""
    text = "".join(read_lines(path))
    if text.lstrip()[:1] != "{":
        return
    try:
        keys = list(json.loads(text))
    except (ValueError, RecursionError):
        return  # lines, of which some are bad
    raise UserError(
        f"{path}: one JSON object with the keys {', '.join(keys[:5])}, not rows; where a list of rows is under one, write that list: "
        f"python -c \"import json; json.dump(json.load(open({path!r}))[{keys[0]!r}], open('rows.json', 'w'))\""
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


def _object(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in found if names.count(name) > 1)!r} is twice in one object; keep one of them")
    return found


def read_csv(path: str) -> Table:
    """CSV with commas, semicolons, tabs or bars; all cells are text. Raises UserError for rows of another length than the header."""
    reader, above, separator = _csv_reader(path)
    table, header, bad, end, texts = Table(lines=[]), None, [], above, Texts()
    rows = table.lines = []
    cells: list[list] = []
    try:
        for row in reader:
            if row and header is None:
                header, cells = row, [[] for _ in row]
            elif row:
                rows.append(end + 1)
                if len(row) != len(header or ()):
                    bad.append(f"row {len(rows)} (line {end + 1}): {len(row)} cells")
                for column, cell in zip(cells, row):
                    column.append(texts[cell])
            end = above + reader.line_num
    except csv.Error as error:
        raise UserError(
            f"{path}: row {len(rows) + (header is not None)} (line {end + 1}): {error}; a cell with commas, quotes or line breaks "
            'stands in double quotes, and a quote inside is doubled (""): correct the row'
        ) from error
    header = header or []
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{path}: column {twice[0]!r} is twice in the header; names are unique: rename one")
    refuse_bad(path, f"the header names {len(header)} columns and every row has as many: correct them", bad)
    table.columns = dict(zip(header, cells))
    table.notes = () if separator == "," else (f"columns are separated by {separator!r}",)
    return table


def csv_names(path: str) -> list[str]:
    """The columns that a CSV file's header names. Raises UserError for bytes that are no text, csv.Error for quotes that do not end."""
    return next(filter(None, _csv_reader(path)[0]), [])


def _csv_reader(path: str) -> tuple[Any, int, str]:
    """A reader of a CSV file's rows, how many lines stand above them, and what separates the columns."""
    csv.field_size_limit(2**31 - 1)  # the default refuses texts above 128 KiB
    lines = _csv_lines(path)
    said = re.fullmatch(r"sep=(.)\r?\n?", next(lines, ""))  # Excel's first line
    separator = said[1] if said else _separator(_header(path))
    return csv.reader(lines if said else _csv_lines(path), strict=True, delimiter=separator), int(bool(said)), separator


def _csv_lines(path: str) -> Iterator[str]:
    """Lines that end with a line feed, a carriage return or both."""
    for line in read_lines(path):
        yield from re.split(r"(?<=\r)(?!\n)(?=.)", line, flags=re.DOTALL) if "\r" in line[:-2] else (line,)


def _header(path: str) -> str:
    """The first line that is not empty."""
    return next((line for line in _csv_lines(path) if line.strip("\r\n")), "")


def _separator(header: str) -> str:
    """What separates the columns: a semicolon, a tab or a bar where the header has more of them than commas."""
    header = re.sub(r'"(""|[^"])*"', "", header)
    return max((",", ";", "\t", "|"), key=header.count)
