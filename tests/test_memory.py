"""Freed memory is kept: the second block is not cleared page by page again."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import numpy as np
from raterhf.engine.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
faults = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**26, np.uint8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_freed_memory_is_kept():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True).stdout)
        for keep in (True, False)
    )
    assert 100 * kept < given_back
