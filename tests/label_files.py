"""Rows of comparisons to write into files, and the mistakes expected of reading them."""

import pytest

from raterhf.data.labels import read_labels
from raterhf.errors import UserError

PAIR = {"prompt": "A number?", "chosen": "7", "rejected": "3", "rater_id": "r1"}


def pairs(*changes: dict) -> list[dict]:
    """Two good rows by r1 and r2, then one changed row for each of `changes` (None leaves the key out)."""
    rows = [PAIR, PAIR | {"rater_id": "r2"}]
    for change in changes:
        rows.append({k: v for k, v in (PAIR | change).items() if v is not ...})
    return rows


def fails(*parts: str, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        read_labels(**kwargs)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"
    return str(caught.value)
