"""Several processes that train together, forked from the test's, as torchrun starts them: gloo on the CPU."""

import os
import signal
import socket
import traceback
from collections.abc import Callable
from pathlib import Path


def together(act: Callable[[], object], said: Path, count: int = 2) -> list[int]:
    """Run `act` in so many processes; their exit codes by rank, negative for a signal. What rank r raised stands in `said`/r.

    Where one fails the others are ended, as torchrun does.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = {_start(act, said, rank, count, port): rank for rank in range(count)}
    codes: dict[int, int] = {}
    while children:
        child, status = os.wait()
        if child not in children:
            continue
        rank = children.pop(child)
        codes[rank] = os.waitstatus_to_exitcode(status)
        if codes[rank]:
            for other in children:
                os.kill(other, signal.SIGKILL)
    return [codes[rank] for rank in range(count)]


def _start(act: Callable[[], object], said: Path, rank: int, count: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
        }  # fmt: skip
        act()
        code = 0
    except BaseException as error:
        (said / str(rank)).write_text(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    finally:
        os._exit(code)
