"""Remove a person from a run folder: row, ID, personas, group, and whatever the program wrote there that names them.

What it cannot remove, it says: the weights and the populations were fitted to their labels, and the data files are the user's. Finished
stages stay finished; a training that would read the person's labels again is refused (`data/dropped.py`).
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import escape

from raterhf.data.dropped import DROPPED, record_dropped
from raterhf.errors import UserError
from raterhf.export.folder import RECORD
from raterhf.io import read_json
from raterhf.lock import hold_run
from raterhf.models.checkpoint import is_model, load_pool
from raterhf.models.pools import RECORDS, replace_pools
from raterhf.raters.pool import RaterPool
from raterhf.training.fit import clear_state

WITHOUT_NAMES = (*RECORDS, DROPPED, "metrics.csv", "training_curve.csv")
REPORTS = ("compare", "probes")  # folders that `raterhf compare` and `raterhf probe` write again


@dataclass
class Dropped:
    """What `drop_raters` removed from a run, and what it could not: a line each."""

    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def drop_raters(run: str | Path, ids: str | Sequence[str]) -> Dropped:
    """Remove raters (one ID or several) from a run folder, all its stages and controls; returns what was removed and what could not be.

    Afterwards nobody can ask for these IDs, and training in this folder refuses data with labels of theirs. Raises UserError where nothing
    in the folder knows one of them, and where nobody would be left.
    """
    run, ids = Path(run), [ids] if isinstance(ids, str) else list(ids)
    if not run.is_dir():
        raise UserError(f"run {run} does not exist; give a folder that `raterhf train RECIPE` wrote, such as runs/NAME")
    with hold_run(run):
        return _drop(run, ids)


def _drop(run: Path, ids: list[str]) -> Dropped:
    pools = {path.parent: load_pool(path.parent) for path in sorted(run.rglob("raters.json"))}
    _check(run, pools, ids)
    homes = {run, *(folder.parent for folder in pools if folder != run)}
    for home in homes:
        record_dropped(home, ids)  # first: whatever stops this, no training brings them back
    done = Dropped()
    for saved in sorted(run.rglob("state/state.safetensors")):
        clear_state(saved.parent.parent)
        done.removed.append(f"{saved.parent}: what the interrupted training had learned; it begins again")
    changed = {}
    for folder, pool in pools.items():
        if present := [rater_id for rater_id in ids if rater_id in pool.index]:
            changed[folder] = pool.without(ids)
            done.removed.append(f"{folder}: {_named(present)}: vector, ID, personas and group")
    replace_pools(run, changed)
    for record in sorted(run.rglob(RECORD)):
        if read_json(record)["raters"].keys() & set(ids):
            shutil.rmtree(record.parent)
            done.removed.append(f"{record.parent}, an export that answered as them; `raterhf export` writes it again without them")
    for audit in sorted(run.rglob("audit/audit.json")):  # its plots and page name raters too
        shutil.rmtree(audit.parent)
        done.removed.append(f"{audit.parent}, which their labels are in; `raterhf audit` writes it again")
    for path in _naming(run, ids):
        if path.parent.name in REPORTS:
            path.unlink()
            done.removed.append(f"{path}, which named them; `raterhf {path.parent.name}` writes it again")
        else:
            done.left.append(f"{path} names them: it is no file of the run's own; delete or correct it")
    done.left += _remaining(run, pools)
    return done


def _check(run: Path, pools: dict[Path, RaterPool], ids: Sequence[str]) -> None:
    others = sorted({path.parent.name for path in run.parent.glob("*/raters.json")} - {run.name})
    if (run / "raterhf.json").is_file() and others:
        raise UserError(f"{run} is one stage of {run.parent}, whose stages {', '.join(others)} know raters too; give {run.parent}")
    if not pools.keys() & {run, *run.iterdir()}:
        raise UserError(f"{run} is no run that knows raters; give a folder that `raterhf train RECIPE` wrote, such as runs/NAME")
    for rater_id in ids:
        if not any(rater_id in pool.index for pool in pools.values()):
            next(iter(pools.values())).by_id(rater_id)  # raises, and names the nearest
    for folder, pool in pools.items():
        if not set(pool.known) - set(ids):
            raise UserError(f"{folder} would know nobody without {_named(ids)}; delete the folder instead")


def _naming(run: Path, ids: Sequence[str]) -> list[Path]:
    """Files of a run, outside its model folders, that name a rater: as a text in JSON, a cell of a CSV file, or the author of a sample in a
    report.
    """
    quoted = {form for rater_id in ids for form in (json.dumps(rater_id), json.dumps(rater_id, ensure_ascii=False))}
    forms = {
        ".json": quoted,
        ".jsonl": quoted,
        ".csv": {f"{before}{cell}{after}" for rater_id in ids for cell in _cells(rater_id) for before in ",\n" for after in ",\n"},
        ".html": {f"<small>{escape(rater_id)}</small>" for rater_id in ids},
    }
    found = []
    for path in sorted(run.rglob("*")):
        if path.suffix in forms and path.name not in WITHOUT_NAMES and path.is_file() and not is_model(path.parent):
            text = "\n" + path.read_text("utf-8", "replace") + "\n"
            found += [path] if any(form in text for form in forms[path.suffix]) else []
    return found


def _cells(rater_id: str) -> tuple[str, str]:
    """How CSV writes an ID."""
    doubled = rater_id.replace('"', '""')
    return rater_id, f'"{doubled}"'


def _remaining(run: Path, pools: dict[Path, RaterPool]) -> list[str]:
    """What was fitted to a dropped person's labels and cannot be taken apart, and what is not ours."""
    fitted = sorted(str(folder) for folder in [run, *run.rglob("*")] if folder.is_dir() and is_model(folder))
    left = [f"the weights in {', '.join(fitted)}: trained with their labels (only training again without them removes that)"]
    if any(pool.populations for pool in pools.values()):
        left.append("the populations that fictitious raters are drawn from: fitted with their vectors")
    if any(pool.encoding == "text" for pool in pools.values()):
        left.append("what the weights know of the text of their IDs (raters.encoding is text)")
    if reports := sorted(str(path) for path in run.rglob("*.html")):
        left.append(f"answers of theirs that {', '.join(reports)} may show without a name")
    left.append("exports (`raterhf export`) that were copied or uploaded elsewhere")
    left.append(
        "the data files, which are yours: remove their rows there, and `raterhf train` trains every stage again without them; until then "
        "it refuses the data"
    )
    return left


def _named(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids))
