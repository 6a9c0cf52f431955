"""How this process deals with memory on a CPU, and what a piece of work takes of time and memory."""

import ctypes
import platform
import time
from collections.abc import Callable
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT = 2**30


def keep_freed_memory() -> None:
    """Let the C library keep up to a gigabyte of freed memory for the next tensors. Does nothing where there is no glibc.

    By default it gives large blocks back at once, and the kernel clears every page of the next one, over and over in a forward pass.
    """
    if library := _glibc():
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
        library.mallopt(M_MMAP_THRESHOLD, KEPT)


def give_back_freed_memory() -> None:
    """What `keep_freed_memory` kept, to the system."""
    if library := _glibc():
        library.malloc_trim(0)


def resident(process: int) -> int:
    """Bytes that a process holds; 0 where only Linux would tell, or the process has ended."""
    try:
        return _status("VmRSS", str(process))
    except (OSError, StopIteration):
        return 0


def reset_peak() -> int | None:
    """Give kept memory back and forget the peak: bytes resident now, from which `peak` counts. None where only Linux would know."""
    try:
        give_back_freed_memory()
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
        return _status("VmRSS")
    except OSError:
        return None


def peak() -> int:
    """Most bytes resident since `reset_peak`."""
    return _status("VmHWM")


def cost_of(run: Callable[[], object]) -> dict[str, float | None]:
    """Run; `seconds` it took and `peak_mib`, the most MiB that this process held at once meanwhile.

    On a GPU what was allocated there, else all that was resident, the libraries' 0.5 GiB or so too; None where only Linux would tell.
    """
    import torch  # slow, and who only wants help must not wait for it

    known, cuda = reset_peak() is not None, torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    run()
    seconds = time.monotonic() - start
    most = torch.cuda.max_memory_allocated() if cuda else peak() if known else None
    return {"seconds": seconds, "peak_mib": None if most is None else most / 2**20}


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _status(name: str, process: str = "self") -> int:
    lines = Path("/proc", process, "status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
