"""Names of raters in one spelling: Unicode in its composed form (NFC), and by file where files number their own people."""

import unicodedata
from decimal import Decimal
from pathlib import Path

import pandas as pd

from raterhf.errors import UserError


def tidy_ids(cells: pd.Series, prefix: str = "") -> pd.Series:
    """The IDs in NFC, behind `prefix/` where one is given; whole numbers of a DECIMAL column as integers.

    What else is not text stays as it is, unless it gets a prefix.
    """
    # As objects: pandas' own strings cannot hold halves of characters, which later checks name by row.
    plain = pd.Series([None if isinstance(cell, list | dict | bool) else cell for cell in cells], dtype=object)
    codes, values = pd.factorize(plain, use_na_sentinel=True)
    spelled = [_spell(value) for value in values]
    if prefix:
        spelled = [f"{prefix}/{value}" if value != "" and not isinstance(value, float) else value for value in spelled]
    return pd.Series([spelled[code] if code >= 0 else cell for code, cell in zip(codes, cells)], dtype=object, index=cells.index)


def _spell(value: object) -> object:
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def prefixes(paths: list[str]) -> dict[str, str]:
    """Path -> a short name that no other file has: the name without its suffix, or with as many folders as tell files apart."""
    for depth in range(1, max((len(Path(path).parts) for path in paths), default=1) + 1):
        names = {path: "/".join((*Path(path).parts[-depth:-1], Path(path).stem)) for path in paths}
        if len(set(names.values())) == len(names):
            return names
    raise UserError(f"data.prefix_raters: the files {', '.join(paths)} differ by nothing but their suffix; rename one")
