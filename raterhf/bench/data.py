"""What it takes to check many rows: seconds and memory of `raterhf data check` on files made for it, each in a process of its own.

The rows are comparisons of texts by simulated raters, alike in every format. Time and memory are those of the whole command, from its start
to its last line, as the operating system counts them; what making the files takes is not in them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from raterhf.errors import UserError
from raterhf.terminal import console

FORMATS = ("jsonl", "csv", "parquet")
ANSWERS = 4  # to each prompt
VOCABULARY = 2000
CHUNK = 50_000  # rows that are made at once


def bench_data(rows: int, raters: int, words: int, labels: int, formats: list[str], threads: int, seed: int) -> dict:
    """Figures for each of `formats`: MiB of the file, seconds, seconds of processors, and the most MiB of memory.

    `words` is the length of an answer, about, `labels` how many comparisons there are of a prompt, on average; `threads` is how many the
    check may use. Raises UserError where a check fails.
    """
    found = []
    with TemporaryDirectory() as folder:
        for form in formats:
            path = Path(folder) / f"labels.{form}"
            _write(path, _chunks(rows, raters, words, labels, seed))
            found.append({"format": form, "file_mib": path.stat().st_size / 2**20} | _time_check(path, rows, threads))
            path.unlink()
    return {"rows": rows, "raters": raters, "words": words, "labels": labels, "threads": threads, "seed": seed, "checks": found}


def print_data(found: dict) -> None:
    table = Table("file", "MiB", "seconds", "processor seconds", "peak MiB")
    for one in found["checks"]:
        numbers = (one[name] for name in ("file_mib", "seconds", "processor_seconds", "peak_mib"))
        table.add_row(one["format"], *(f"{number:.0f}" for number in numbers))
    console().print(
        f"raterhf data check: {found['rows']} comparisons of {found['rows'] // found['labels']} prompts, {found['raters']} raters, answers "
        f"of about {found['words']} words; {found['threads']} threads, seed {found['seed']}"
    )
    console().print(table)


def _time_check(path: Path, rows: int, threads: int) -> dict:
    """Run the command on a file, and what it took."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    said, failed = path.with_suffix(".out"), path.with_suffix(".err")
    start = time.perf_counter()
    with open(said, "w") as out, open(failed, "w") as err:
        running = subprocess.Popen(
            [sys.executable, "-m", "raterhf", "data", "check", str(path), "--json"],
            stdout=out, stderr=err, env=os.environ | dict.fromkeys(names, str(threads)),
        )  # fmt: skip
        _, status, used = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - start
    if status or json.loads(said.read_text())["what"]["comparisons"] != rows:
        raise UserError(f"raterhf data check failed on {path.name}: {failed.read_text().strip()[-300:] or f'status {status}'}")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return {"seconds": seconds, "processor_seconds": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss * unit / 2**20}


def _write(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    if path.suffix == ".parquet":
        tables = (pa.Table.from_pandas(chunk, preserve_index=False) for chunk in chunks)
        first = next(tables)
        with pq.ParquetWriter(path, first.schema) as writer:
            for table in (first, *tables):
                writer.write_table(table)
        return
    for place, chunk in enumerate(chunks):
        if path.suffix == ".csv":
            chunk.to_csv(path, mode="a", header=place == 0, index=False)
        else:
            chunk.to_json(path, mode="a", orient="records", lines=True)


def _chunks(rows: int, raters: int, words: int, labels: int, seed: int) -> Iterator[pd.DataFrame]:
    """Comparisons: prompts with a few answers each, of random words; raters like answers by a taste of their own and by chance."""
    rng = np.random.default_rng(seed)
    vocabulary = make_vocabulary(rng)
    prompts = max(rows // labels, 1)
    asked = [make_text(vocabulary, rng, words // 2 + 1) for _ in range(prompts)]
    answers = [make_text(vocabulary, rng, words) for _ in range(prompts * ANSWERS)]
    worth, taste = rng.normal(size=(2, prompts * ANSWERS)), rng.normal(size=raters)
    for begin in range(0, rows, CHUNK):
        n = min(CHUNK, rows - begin)
        prompt, rater, first = rng.integers(prompts, size=n), rng.integers(raters, size=n), rng.integers(ANSWERS, size=n)
        a = prompt * ANSWERS + first
        b = prompt * ANSWERS + (first + rng.integers(1, ANSWERS, size=n)) % ANSWERS
        better = (worth[0][a] - worth[0][b]) + taste[rater] * (worth[1][a] - worth[1][b]) + rng.logistic(size=n)
        yield pd.DataFrame(
            {
                "prompt": [asked[i] for i in prompt], "a": [answers[i] for i in a], "b": [answers[i] for i in b],
                "label": np.where(better > 0, 1, -1), "rater_id": [f"rater {i}" for i in rater],
            }
        )  # fmt: skip


def make_vocabulary(rng: np.random.Generator) -> np.ndarray:
    """Words of random letters."""
    return np.array(["".join(rng.choice(list("abcdefghijklmnoprstuvw"), size)) for size in rng.integers(2, 10, VOCABULARY)])


def make_text(vocabulary: np.ndarray, rng: np.random.Generator, words: int) -> str:
    return " ".join(vocabulary[rng.integers(len(vocabulary), size=max(1, rng.poisson(words)))])
