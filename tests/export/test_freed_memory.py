"""Memory that was freed goes back to the system; told by the process's own figure, on Linux with glibc."""

import ctypes
import gc
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.export.server.freed_memory import return_freed_memory

BLOCK = 64 * 1024  # below what malloc takes as a mapping of its own
COUNT = 3_200


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Node:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self):
        self.block = np.ones(BLOCK, np.uint8)
        self.me = self


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs /proc/self/statm (Linux)")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs malloc_trim (glibc)")
def test_memory_of_cycles_goes_back_to_the_system():
    gc.collect()
    gc.disable()
    try:
        nodes = [Node() for _ in range(COUNT)]  # 210 MB
        keeps = np.ones(BLOCK, np.uint8)  # behind them on the heap
        full = resident_bytes()
        del nodes

        return_freed_memory()

        assert full - resident_bytes() > 0.8 * BLOCK * COUNT
        assert keeps.all()
    finally:
        gc.enable()
