"""The raters that `raterhf raters drop` removed from a run, so that no later training brings them back from the data.

RUN/dropped.json holds digests of their IDs: whoever knows an ID can see whether it is there, and nobody can read one out of it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from raterhf.errors import UserError
from raterhf.io import read_json, write_text

DROPPED = "dropped.json"


def id_digest(rater_id: str) -> str:
    return hashlib.sha256(f"raterhf rater {rater_id}".encode()).hexdigest()[:32]


def record_dropped(run: Path, ids: Iterable[str]) -> None:
    """Add raters to those dropped from a run folder."""
    write_text(run / DROPPED, json.dumps({"raters": sorted(_dropped(run) | {id_digest(i) for i in ids})}, indent=1))


def refuse_dropped(run: Path, ids: Iterable[str], files: list[str]) -> None:
    """Raise UserError where the data, read from `files`, hold labels of a rater who was dropped from the run folder."""
    dropped = _dropped(run)
    if back := [rater_id for rater_id in ids if dropped and id_digest(rater_id) in dropped]:
        more = f" and {len(back) - 1} more" if len(back) > 1 else ""
        raise UserError(
            f"the data hold labels of rater {back[0]!r}{more}, whom `raterhf raters drop` removed from {run}; remove their rows from "
            f"{', '.join(files)}, and every stage is trained again without them; or, to train with them, delete {run / DROPPED}"
        )


def _dropped(run: Path) -> set[str]:
    return set(read_json(run / DROPPED)["raters"]) if (run / DROPPED).is_file() else set()
