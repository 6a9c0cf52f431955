"""What is done to the rows of a part: scored, or answered, by a run that is opened once."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from raterhf.data.requests import completions_of, prompts_of, rejects_csv
from raterhf.errors import UserError
from raterhf.io import file_digest
from raterhf.parts.folder import write_part
from raterhf.parts.rows import Part, PartReader
from raterhf.run import open_run
from raterhf.run_folder import SAMPLED_FROM, SCORED_BY, find_stage

# Rows and the number of the first -> a table of what comes of them, with the column `row`; and the rejected, number -> why.
Work = Callable[[pd.DataFrame, int], tuple[pa.Table, dict[int, str]]]


@dataclass(frozen=True)
class Asked:
    """What is asked of a run: `verb` is score or sample, `settings` are the arguments of `scoring` or `sampling` after the run."""

    verb: str
    run: str
    settings: dict[str, Any]

    @property
    def columns(self) -> Sequence[str]:
        """That rows need."""
        return ("prompt", "completion") if self.verb == "score" else ("prompt",)

    def open(self) -> Work:
        return (scoring if self.verb == "score" else sampling)(Path(self.run), **self.settings)

    def described(self) -> dict:
        """What the results depend on, beside the rows: the settings, and the weights and raters by their digests."""
        stage = find_stage(Path(self.run), SCORED_BY if self.verb == "score" else SAMPLED_FROM)
        files = [*sorted(stage.glob("*.safetensors")), stage / "raters.json"]
        return asdict(self) | {"run": {file.name: file_digest(str(file)) for file in files}}


def scoring(
    run: Path, raters: Sequence[str], seed: int, group: str | None, idiosyncratic: bool, dtype: str, deterministic: bool
) -> Work:  # fmt: skip
    """Scores, a column for each rater, by ID."""
    opened = open_run(run, dtype=dtype, deterministic=deterministic)

    def score(frame: pd.DataFrame, first: int) -> tuple[pa.Table, dict[int, str]]:
        asked = completions_of(frame, first)
        scores, unfit = opened.score_where_possible(asked.rows, list(raters), seed, group, idiosyncratic)
        if "row" in scores.index:
            raise UserError("a rater's ID is 'row', which is the column of rows' numbers; leave that rater out, or leave out --engine")
        columns = {"row": pa.array(list(scores.columns), pa.int64())}
        return pa.table(columns | {rater: pa.array(mine) for rater, mine in zip(scores.index, scores.to_numpy())}), asked.rejects | unfit

    return score


def sampling(
    run: Path, rater: str, n: int, seed: int, group: str | None, temperature: float, max_new_tokens: int | None, deterministic: bool
) -> Work:  # fmt: skip
    """Answers, as `raterhf sample` prints them without their prompts: a row for each."""
    opened = open_run(run, deterministic=deterministic)
    schema = pa.schema(
        [("row", pa.int64()), ("rater", pa.string()), ("completion", pa.string()), ("log_prob", pa.float32()), ("finished", pa.bool_()),
         ("stage", pa.string())]
    )  # fmt: skip

    def sample(frame: pd.DataFrame, first: int) -> tuple[pa.Table, dict[int, str]]:
        asked, rejects = prompts_of(frame, first)
        answers, unfit = opened.sample_where_possible(asked, rater, n, seed, group, temperature, max_new_tokens)
        rows = [{"row": row} | asdict(answer) for row, found in answers.items() for answer in found]
        return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema), rejects | unfit

    return sample


def do_part(work: Work, reader: PartReader, part: Part, out: Path) -> None:
    """Read a part, do its work and write what comes of it."""
    frame = reader.read(part)
    table, rejects = work(frame, part.first)
    write_part(out, part, table, rejects_csv(frame, rejects, part.first) if rejects else "", len(rejects))
