"""Several processes that train one model: which of them this is, its part of a batch, and what they tell each other.

Processes are those of torch.distributed, and without it there is one, alone. Each makes the same batches, functions of seed and step, and
reads its own part of each; gradients are averaged, so that a step is the same however many share it. What is done once, is done by the
first, which also writes everything.

Notation: N rows of a batch, n of them this process's own.
"""

import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

import raterhf
from raterhf.errors import UserError
from raterhf.log import log

LONGEST = timedelta(days=30)  # for which the others wait while the first does what is done once; a killed process is torchrun's to notice
LOST = "another process of this training has ended, and so does this one; run the same command again: it resumes"
LIBRARIES = ("torch", "lightning", "transformers", "peft")


def started() -> bool:
    """Whether torchrun, or who sets its environment variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def started_here() -> int:
    """Processes of this training on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if started() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun started, on the GPU of its number where there are GPUs; alone where it started none.

    Others than the first say nothing but errors. Raises UserError where they run other versions of the libraries, and where one is lost.
    """
    if not started() or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=LONGEST)
    level = log.level
    if not first():
        log.setLevel(logging.ERROR)
    try:
        _check_versions()
        yield
        wait()
        distributed.destroy_process_group()  # where something was raised, the others may never come
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise UserError(LOST) from error
        raise
    finally:
        log.setLevel(level)


def _check_versions() -> None:
    versions = [f"raterhf {raterhf.__version__}", *(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)]
    digest = float(int.from_bytes(hashlib.sha256(" ".join(versions).encode()).digest()[:6], "big"))
    digests = [found[0] for found in gathered([digest])]
    if other := [str(rank) for rank, found in enumerate(digests) if found != digests[0]]:
        raise UserError(
            f"the processes of ranks {', '.join(other)} run other versions of raterhf or its libraries than the first "
            f"({', '.join(versions)} here); install the same everywhere"
        )


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's number among all, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else int(os.environ["RANK"]) if started() else 0


def first() -> bool:
    return rank() == 0


def part(rows: int) -> slice:
    """This process's own of N rows: as many as the others', one more or less."""
    return slice(rows * rank() // count(), rows * (rank() + 1) // count()) if count() > 1 else slice(0, rows)


def share(own: float, whole: float) -> float:
    """What the mean over n own rows is multiplied by, so that the mean of it over the processes is the mean over N."""
    return count() * own / whole


def wait() -> None:
    """Until every process has come here."""
    gathered([])


def gathered(numbers: Sequence[float]) -> list[list[float]]:
    """The numbers of every process, of the same length, by rank."""
    if count() == 1:
        return [list(numbers)]
    own = torch.tensor([0.0, *numbers], dtype=torch.float64)  # something, so that waiting is this too
    found = [torch.empty_like(own) for _ in range(count())]
    distributed.all_gather(found, own)
    return [one[1:].tolist() for one in found]


def averaged(value: Tensor) -> Tensor:
    """The mean over processes, without gradients."""
    if count() == 1:
        return value.detach()
    found = value.detach().clone()
    distributed.all_reduce(found)
    return found / count()


def of_first(make: Callable[[], float]) -> float:
    """What the first process makes, told to all."""
    return gathered([float(make()) if first() else 0.0])[0][0]


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process goes before the others, which then find what it wrote."""
    if not first():
        wait()
    yield
    if first():
        wait()
