"""What a data file holds, by the columns it has: for files that nobody said it of."""

import csv
import json
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raterhf.data import convert
from raterhf.data.files import read_rows
from raterhf.data.opening import FIELD
from raterhf.data.remedies import remedy
from raterhf.data.text_files import csv_names, read_lines, suffix_of
from raterhf.errors import UserError
from raterhf.recipe import DataSettings

PEEKED = 100  # lines of a .jsonl file that tell its columns
# Our columns that tell a kind, the surest first.
TELLING = (
    ("ratings", ("response", "rating")),
    ("comparisons", ("chosen", "rejected")),
    ("comparisons", ("a", "b")),
    ("demonstrations", ("completion",)),
    *(("raters", ("rater_id", name)) for name in ("persona", "group", "split")),
)


def kind_of(path: str, settings: DataSettings) -> str:
    """comparisons, ratings, demonstrations or raters, by the columns, or by the tool whose export it is.

    Raises UserError where the columns are none of a kind's, and as `read_rows` does.
    """
    there, columns = column_names(path), settings.columns
    for kind, names in TELLING:
        theirs = [columns.get(f"{kind}.{name}", columns.get(name, name)) for name in names]
        if all(name in there or FIELD.search(name) for name in theirs):
            return kind
    if len(exported := convert.kinds_of(read_rows(path))) > 1:
        raise UserError(f"{path}: an export of {' and '.join(exported)}; say which to read, as in --{exported[0]} {path}")
    if exported:
        return exported[0]
    if settings.preset:
        return "comparisons"
    unknown = f"{path}: what it holds cannot be told from its columns ({', '.join(there)})"
    if more := remedy("", path, read_rows(path).frame, columns):
        raise UserError(f"{unknown}{more}")
    raise UserError(
        f"{unknown}. Comparisons have chosen, rejected (the texts of two answers) or a, b, label (label says which is better); "
        "ratings response, rating; demonstrations completion; and all of them prompt and rater_id; a raters file has rater_id and persona, "
        "group or split. Map all of them as in "
        "data.columns={prompt: NAME, a: NAME, b: NAME, label: NAME, rater_id: NAME}, or say what the file holds as in --comparisons FILE"
    )


def column_names(path: str) -> list[str]:
    """The columns of a file, without reading the whole of one that can be long. Raises UserError as `read_rows` does."""
    suffix, found = suffix_of(path), Path(path).is_file()
    if found and suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names)
        except pa.ArrowInvalid:
            pass  # `read_rows` says what is wrong
    if found and suffix in (".jsonl", ".jsonl.gz"):
        try:
            records = [json.loads(line) for line in islice(filter(str.strip, read_lines(path)), PEEKED)]
            return list(dict.fromkeys(name for record in records for name in record))
        except (ValueError, TypeError, RecursionError):
            pass
    if found and suffix.removesuffix(".gz") in (".csv", ".tsv"):
        try:
            return csv_names(path)
        except csv.Error:
            pass
    return list(map(str, read_rows(path).frame.columns))
