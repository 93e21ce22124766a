"""Memory between the steps of a training."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_KEEP = 2**30
_USUAL_TRIM, _USUAL_MMAP = 2**26, 2**25  # as far as glibc raises them by itself in a process that frees large blocks


@contextmanager
def kept_heap() -> Iterator[None]:
    """Inside, what tensors free stays with the process; afterwards it goes back to the system. glibc only.

    A step frees some hundred megabytes and the next asks for them again. By default glibc returns them in between, and
    the kernel hands out zeroed pages anew, one fault each: an eighth of a step's time.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):  # macOS, musl
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _KEEP)
    libc.mallopt(_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        libc.malloc_trim(0)
