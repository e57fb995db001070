"""How the memory of this process is handed out on a CPU."""

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Numbers of settings in glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Have glibc keep what tensors free for the next ones; other C libraries are left alone.

    As it comes, it gives every tensor above 32 MiB back to the system, and the next one's pages are new and must be
    cleared: a sixth of the time of a ViT-B's step on two cores. The process then stays as large as it was at its peak.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
