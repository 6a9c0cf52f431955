"""One worker before the models: what pages ask for is computed one after the other, however many ask at once.

A request is a `Job`: a function that tells events while it works. It is stopped where nobody waits for it any longer, at its next `check`:
sampling makes one after every token, and every module that is entered in a model's pass makes one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Protocol

from torch.nn.modules.module import register_module_forward_pre_hook

from raterhf.errors import UserError
from raterhf.log import log

MOST_WAITING = 16
LOOK_EVERY = 0.2  # seconds: how often it is looked whether somebody still waits
ENDS = ("done", "failed")


class Stopped(Exception):
    """Nobody waits for a job's result."""


class Teller(Protocol):
    """Whom a work tells what it finds on its way."""

    def tell(self, kind: str, data: object) -> None: ...

    def check(self) -> None: ...


@dataclass
class Job:
    """What a request asks for. Its events are (kind, data) with data that JSON can hold; the last is `done` or `failed`."""

    work: Callable[["Job"], object]
    loop: asyncio.AbstractEventLoop
    ahead: int
    told: asyncio.Queue = field(default_factory=asyncio.Queue)
    left: Event = field(default_factory=Event)

    def tell(self, kind: str, data: object) -> None:
        """From the worker to whoever waits."""
        self.check()
        self.loop.call_soon_threadsafe(self.told.put_nowait, (kind, data))

    def check(self) -> None:
        """Raise Stopped where nobody waits."""
        if self.left.is_set():
            raise Stopped

    async def events(self, gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[tuple[str, object]]:
        """What the job tells, until it ends or `gone` says that nobody waits, which stops it."""
        try:
            while True:
                try:
                    event = await asyncio.wait_for(self.told.get(), LOOK_EVERY)
                except TimeoutError:
                    if await gone():
                        return
                    continue
                yield event
                if event[0] in ENDS:
                    return
        finally:
            self.left.set()


class Queue:
    """The one worker."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "explore")
        self._lock, self._unfinished = Lock(), 0

    def submit(self, work: Callable[[Job], object]) -> Job:
        """Raises UserError where too many wait already."""
        with self._lock:
            if self._unfinished > MOST_WAITING:
                raise UserError(f"{self._unfinished} requests wait for the model already; stop some, or ask again when they are done")
            job = Job(work, asyncio.get_running_loop(), self._unfinished)
            self._unfinished += 1
        self._worker.submit(self._run, job)
        return job

    def _run(self, job: Job) -> None:
        try:
            job.check()
            with _stopped_in_passes(job):
                found = job.work(job)
            job.tell("done", found)
        except Stopped:
            pass
        except UserError as error:
            self._fail(job, str(error))
        except Exception:  # the page's next request must find a worker
            log.exception("a request of the page failed")
            self._fail(job, "raterhf made a mistake, and the terminal that it runs in shows where; ask something else, or report it")
        finally:
            with self._lock:
                self._unfinished -= 1

    def _fail(self, job: Job, why: str) -> None:
        if not job.left.is_set():
            job.tell("failed", why)

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _stopped_in_passes(job: Job) -> Iterator[None]:
    """A model's pass ends within, before its next module, where nobody waits. The hook is torch's for all models: one worker runs them."""
    hook = register_module_forward_pre_hook(lambda module, given: job.check())
    try:
        yield
    finally:
        hook.remove()
