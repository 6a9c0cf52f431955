"""The labels of people who come after training, read as the run's own data were."""

import tempfile
from os import PathLike
from pathlib import Path

import pandas as pd

from raterhf.data.checks import rater_fault
from raterhf.data.dropped import refuse_dropped
from raterhf.data.files import read_rows
from raterhf.data.labels import Labels, read_labels
from raterhf.data.schema import EVERYONE
from raterhf.errors import UserError
from raterhf.recipe import DataSettings

Given = str | PathLike | pd.DataFrame


def read_people(
    given: Given | None, rater_id: str | None, data: DataSettings | None, run: Path, answers: bool = False
) -> tuple[Labels, list[str]]:  # fmt: skip
    """Comparisons or ratings (or own `answers`) of a file or a table, and whose they are: `rater_id` alone where given, else those that the
    rows name.

    `data` is the section of the run's recipe, by which columns and labels have their names. Raises UserError for rows of several people
    where one is asked for, rows that name nobody where none is, and people who were dropped from the run. Without labels: none, of
    `rater_id`.
    """
    if rater_id is not None and (fault := rater_fault(rater_id)):
        raise UserError(f"--id {rater_id!r} {fault}")
    if given is None:
        if rater_id is None:
            raise UserError("neither labels nor an ID; give labels, or the ID of somebody who has none yet")
        columns = {name: pd.Series([], dtype=object) for name in ("prompt", "a", "b", "label", "rater_id")}
        return Labels(pd.DataFrame(columns), pd.DataFrame(), pd.DataFrame(), {"ratings": {}}), [rater_id]
    if isinstance(given, pd.DataFrame):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "labels.parquet"
            given.to_parquet(table)
            return read_people(table, rater_id, data, run, answers)
    path = str(given)
    there = set(read_rows(path).frame)
    names = dict(data.columns) if data else {}
    rating = names.get("ratings.rating", names.get("rating", "rating"))
    labels = read_labels(
        comparisons=None if answers or rating in there else path,
        ratings=path if rating in there and not answers else None,
        demonstrations=path if answers else None,
        columns={name: column for name, column in names.items() if column in there or "{" in column or " " in column},
        one_rater=True,
        labels=data.labels if data else None,
        within=data.within if data else None,
        preset=data.preset if data else None,
    )
    rows = labels.demonstrations if answers else labels.comparisons
    ids = sorted(set(rows.rater_id))
    if rater_id is None and ids == [EVERYONE]:
        raise UserError(f"{path}: no column says who judged; give --id NAME, or add a column rater_id")
    if rater_id is not None and len(ids) > 1:
        raise UserError(
            f"{path}: labels of {len(ids)} people ({', '.join(ids[:3])}, ...), and --id {rater_id} is one; keep one person's rows, or "
            "leave out --id to fit each of them"
        )
    if rater_id is not None:
        rows["rater_id"] = rater_id
        ids = [rater_id]
    refuse_dropped(run, ids, [path])
    return labels, ids
