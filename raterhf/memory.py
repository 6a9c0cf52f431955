"""How this process deals with memory on a CPU."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT = 2**30


def keep_freed_memory() -> None:
    """Let the C library keep up to a gigabyte of freed memory for the next tensors. Does nothing where there is no glibc.

    By default it gives large blocks back at once, and the kernel clears every page of the next one: up to a third of a forward pass.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
        library.mallopt(M_MMAP_THRESHOLD, KEPT)
