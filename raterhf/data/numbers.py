"""Numbers as people write them: 4, "4", "4,5", "4/5", "80 %", and decimals of databases.

One column is read in one way. "4/5" and "80 %" are shares; a column of true and false alone is 1 and 0. A number with a comma is a decimal
one unless it can be thousands (1,250); what can be read in two ways is a fault of its row.
"""

import math
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from raterhf.data.checks import is_missing

NOT_FINITE = "is not a finite number; correct it or remove the row"
MISSING = "is missing; write a number or remove the row"
_TRUTH = {True: 1.0, False: 0.0, "true": 1.0, "false": 0.0}
THOUSANDS = "can be read as thousands or as a decimal number; write it with a point and without separators"
MIXED = "is a share (4/5, 80 %) among plain numbers or a plain number among shares; write all of the column in one way"
ABOVE = "is a fraction above 1, or of nothing; correct it"
_COMMA = re.compile(r"[+-]?\d+,\d+")
_GROUPED = re.compile(r"[+-]?(?!0)\d{1,3}([.,]\d{3})+")
_FRACTION = re.compile(r"(\d+(?:[.,]\d+)?)\s*/\s*(\d+(?:[.,]\d+)?)")
_PERCENT = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*%")


def read_numbers(cells: pd.Series) -> tuple[np.ndarray, dict[int, str]]:
    """The cells' numbers [N], NaN where there is none, and the fault of each such row, by position."""
    plain = [isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells]
    if all(plain):
        values = np.array([_finite(cell) for cell in cells], float)
        return values, dict.fromkeys(np.flatnonzero(np.isnan(values)).tolist(), NOT_FINITE)
    spelled = [cell.strip().lower() if isinstance(cell, str) else cell for cell in cells]
    if all(isinstance(cell, bool | str) and cell in _TRUTH for cell in spelled):
        return np.array([_TRUTH[cell] for cell in spelled], float), {}
    forms = {text: _read(text) for text in {cell for cell in cells if isinstance(cell, str)}}
    found = [forms[cell] if isinstance(cell, str) else _of(cell) for cell in cells]
    sizes = Counter(form for form, _ in found)
    whole = sizes["plain"] + sizes["comma"]
    lesser = "share" if whole >= sizes["share"] else ""  # shares and plain numbers: the fewer are the faults
    for i, (form, _) in enumerate(found):
        if sizes["share"] and whole and (form == "share") == (lesser == "share") and form in ("plain", "comma", "share"):
            found[i] = (MIXED, math.nan)
        elif form == "plain" and sizes["comma"] and isinstance(cells.iloc[i], str) and _GROUPED.fullmatch(cells.iloc[i].strip()):
            found[i] = (THOUSANDS, math.nan)
    faults = {i: form for i, (form, value) in enumerate(found) if math.isnan(value)}
    return np.array([value for _, value in found], float), faults


def _of(cell: Any) -> tuple[str, float]:
    if is_missing(cell):
        return MISSING, math.nan
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        return (NOT_FINITE, value) if math.isnan(value := _finite(cell)) else ("plain", value)
    return NOT_FINITE, math.nan


def _finite(value: Any) -> float:
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _read(text: str) -> tuple[str, float]:
    """Form and value of a text: plain, comma, share; or what is wrong with it and NaN."""
    text = text.strip()
    if not text:
        return MISSING, math.nan
    if not math.isnan(value := _finite(text)):
        return "plain", value
    if _COMMA.fullmatch(text) or _GROUPED.fullmatch(text):
        return (THOUSANDS, math.nan) if _GROUPED.fullmatch(text) else ("comma", _finite(text.replace(",", ".")))
    if found := _PERCENT.fullmatch(text):
        return "share", _finite(found[1].replace(",", ".")) / 100
    if found := _FRACTION.fullmatch(text):
        part, of = (_finite(group.replace(",", ".")) for group in found.groups())
        return ("share", part / of) if 0 <= part <= of and of > 0 else (ABOVE, math.nan)
    return NOT_FINITE, math.nan
