"""What scoring of a large file takes: rows a second by Ray's workers and by one process, and whether memory grows with what is done.

The file is made for it in a temporary folder: completions of random words, ten of each prompt. A worker's memory is what the operating
system says that its process holds when it has done a part, this process's what it holds then.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raterhf.bench.data import make_text, make_vocabulary
from raterhf.engine.memory import resident
from raterhf.log import log
from raterhf.parts.folder import counts
from raterhf.parts.pool import do_parts
from raterhf.parts.rows import PartReader, parts_of
from raterhf.parts.work import Asked, do_part
from raterhf.progress import Progress
from raterhf.terminal import console, show_table

COMPLETIONS = 10  # of each prompt
WORDS = 3  # of prompts and completions
GROUP = 100_000  # rows of a row group
LOOKS = 10  # at memory
ALONE = 0.1  # of the rows, which one process does


def bench_parts(run: Path, rows: int, raters: int, workers: int | None, seed: int) -> dict:
    """Figures of scoring `rows` completions by `raters` fictitious raters: seconds until the first part is done, `seconds` from there,
    rows a second there and of one process, and looks at memory in MiB while it goes on. Raises UserError for a run without a reward model.
    """
    settings = {"raters": [f"new:{raters}x"], "seed": seed, "group": None, "idiosyncratic": False, "dtype": "float32"}
    asked = Asked("score", str(run.resolve()), settings | {"deterministic": False})
    asked.described()  # is there such a run
    with tempfile.TemporaryDirectory() as place:
        file, out, alone = (Path(place) / name for name in ("rows.parquet", "ray", "alone"))
        _write(file, rows, seed)
        for folder in (out, alone):
            folder.mkdir()
        parts = parts_of([file], asked.columns)
        done: list[tuple[float, int, float, float]] = []  # when, rows, MiB of the worker and of this process
        began = time.monotonic()
        used: set[int] = set()
        with Progress("score", len(parts), "part") as progress:
            for one in do_parts(asked, parts, out, workers):
                used.add(one.process)
                done.append((time.monotonic() - began, parts[one.number].rows, one.resident / 2**20, resident(os.getpid()) / 2**20))
                progress.advance()
        found = counts(out, parts)
        log.info(f"  {found.parts} parts of {found.rows} rows are there, {found.rejected} rows rejected; one process next")
        own = parts[: max(1, round(ALONE * len(parts)))]
        work, reader = asked.open(), PartReader()
        do_part(work, reader, own[0], alone)  # the model is read here
        began = time.monotonic()
        for part in own:
            do_part(work, reader, part, alone)
        taken = time.monotonic() - began
    first, last = done[0][0], done[-1][0]
    return {
        "rows": found.rows, "parts": found.parts, "rejected": found.rejected, "raters": raters, "workers": len(used), "seed": seed,
        "first_part_seconds": first, "seconds": last - first, "rows_per_second": _rate(sum(n for _, n, *_ in done[1:]), last - first),
        "alone_rows": sum(part.rows for part in own), "alone_rows_per_second": _rate(sum(part.rows for part in own), taken),
        "looks": list(_looks(done)),
    }  # fmt: skip


def print_parts(found: dict) -> None:
    console().print(
        f"{found['rows']} rows by {found['raters']} raters in {found['parts']} parts ({found['rejected']} rows rejected), seed "
        f"{found['seed']}"
    )
    console().print(
        f"{found['workers']} workers of Ray: {found['first_part_seconds']:.1f} s until the first part, then "
        f"{found['rows_per_second']:.0f} rows a second ({found['seconds']:.0f} s)"
    )
    console().print(f"one process: {found['alone_rows_per_second']:.0f} rows a second, of {found['alone_rows']} rows")
    rows = [[f"{look[name]:.0f}" for name in ("rows", "seconds", "worker_mib", "own_mib")] for look in found["looks"]]
    show_table(["rows done", "seconds", "most MiB of a worker", "MiB of this process"], rows)


def _rate(rows: int, seconds: float) -> float:
    return rows / max(seconds, 1e-9)


def _looks(done: list[tuple[float, int, float, float]]) -> Iterator[dict]:
    """The most memory in each tenth of the parts."""
    rows = np.cumsum([n for _, n, *_ in done])
    for part in np.array_split(np.arange(len(done)), min(LOOKS, len(done))):
        held = [done[i][2:] for i in part]
        worker, own = (max(column) for column in zip(*held))
        yield {"rows": int(rows[part[-1]]), "seconds": done[part[-1]][0], "worker_mib": worker, "own_mib": own}


def _write(path: Path, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocabulary = make_vocabulary(rng)
    schema = pa.schema([("prompt", pa.string()), ("completion", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, rows, GROUP):
            n = min(GROUP, rows - begin)
            prompts = [make_text(vocabulary, rng, WORDS) for _ in range(-(-n // COMPLETIONS))]
            completions = [make_text(vocabulary, rng, WORDS) for _ in range(n)]
            writer.write_table(pa.table([[prompts[i // COMPLETIONS] for i in range(n)], completions], schema))
