"""A pool of Ray Data's actors that does parts, each with a model of its own, and the whole of a file by it.

Ray hands out the parts, starts a killed actor anew and gives it its part again. What goes through Ray is which part is done; rows go from
file to file in the actors, so that memory does not grow with the file. Where RAY_ADDRESS names a cluster its machines do the work, and all
of them must see the run, the file and the folder; else Ray is started on this machine, and ended.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayActorError

from raterhf import io
from raterhf.engine.memory import keep_freed_memory, resident
from raterhf.errors import UserError
from raterhf.lock import hold_run
from raterhf.log import log
from raterhf.parts import folder as folders
from raterhf.parts.rows import ROWS, Part, PartReader, files_of, parts_of
from raterhf.parts.work import Asked, Work, do_part
from raterhf.progress import Progress

TRIES = 3  # of a part whose workers are killed
TASKS = 16  # of a worker, each of one part or several: what Ray does for a task takes time too
STORE = 2**27  # bytes of Ray's store of objects, in which there are only numbers of parts


@dataclass(frozen=True)
class Done:
    """A part that is done, the process that did it, the bytes that it held then, and what kept it from being done."""

    number: int
    process: int
    resident: int
    fault: str = ""


class Worker:
    """An actor: the run is opened at the first part and kept."""

    def __init__(self, asked: Asked, out: str):
        self.asked, self.out, self.reader = asked, Path(out), PartReader()
        keep_freed_memory()

    @cached_property
    def work(self) -> Work:
        return self.asked.open()

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Do the one part of a batch."""
        part = Part(*(rows[name].tolist()[0] for name in Part.__slots__))
        fault = "" if folders.done(self.out, part) else self._fault(part)  # done by a worker that was killed when it had written it
        found = asdict(Done(part.number, os.getpid(), resident(os.getpid()), fault))
        return {name: np.array([value]) for name, value in found.items()}

    def _fault(self, part: Part) -> str:
        """Do a part; what keeps it from being done, which Ray would tell as an error of its own."""
        if folders.count_tries(self.out, part) > TRIES:
            return (
                f"rows {part.first} to {part.first + part.rows - 1}: a worker was killed there {TRIES} times, as where memory is too small "
                "for its model and these rows; run the same command with fewer --workers: what is done stays done"
            )
        try:
            do_part(self.work, self.reader, part, self.out)
        except UserError as error:
            return str(error)
        return ""


def answer_file(asked: Asked, path: Path, out: Path, workers: int | None, size: int = ROWS) -> folders.Counts:
    """Do all parts of `path`, of `size` rows, that are not done in the folder `out`; how many rows are done there now.

    `workers` is how many processes share them, one for each GPU, or each core where there is none, where not given. Raises UserError for
    what cannot be asked, and where a worker is killed again and again; the same call then does what is left.
    """
    files = files_of(path)
    parts = parts_of(files, asked.columns, size)
    described = asked.described() | {"rows of a part": size}
    with hold_run(out):
        folders.begin(out, described, files)
        left = [part for part in parts if not folders.done(out, part)]
        if before := len(parts) - len(left):
            log.info(f"  {out}: {before} of {len(parts)} parts are done")
        if left:
            with Progress(asked.verb, len(parts), "part", before) as progress:
                for _ in do_parts(asked, left, out, workers):
                    progress.advance()
        io.sweep(out)  # what killed workers left
        return folders.counts(out, parts)


def do_parts(asked: Asked, parts: Sequence[Part], out: Path, workers: int | None) -> Iterator[Done]:
    """Do parts in a pool; each as it is done, in no order. Raises UserError where one cannot be done."""
    with _ray() as there:
        kind, most = ("GPU", int(there["GPU"])) if there.get("GPU") else ("CPU", int(there["CPU"]))
        if workers is not None and workers > most:
            raise UserError(f"--workers {workers}: Ray has {most} {kind}(s), and a worker needs one; ask for {most} at most")
        size = min(workers or most, len(parts))
        tasks = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=min(len(parts), TASKS * size))
        pool = tasks.map_batches(
            Worker, batch_size=1, compute=ActorPoolStrategy(size=size), num_cpus=1,
            num_gpus=1 if kind == "GPU" else None, fn_constructor_kwargs={"asked": asked, "out": str(out.resolve())},
        )  # fmt: skip
        try:
            for row in pool.iter_rows():
                if row["fault"]:
                    raise UserError(row["fault"])
                yield Done(**row)
        except RayActorError as error:
            raise UserError(
                f"Ray's workers do not start, or do not stay ({error}); see that their memory and this machine's suffice"
            ) from None


@contextmanager
def _ray() -> Iterator[dict[str, float]]:
    """What Ray has, by kind, while it runs. Quiet, and without telling its makers of it."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}.items():
        os.environ.setdefault(name, value)
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if "RAY_ADDRESS" not in os.environ:
        settings |= {"address": "local", "include_dashboard": False, "object_store_memory": STORE}
    ray.init(**settings)
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what it says of errors is raised too
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
