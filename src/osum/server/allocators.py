"""bound_allocators: what threads may hold of memory that is free. Loads nothing, so that it can be called before torch.

Any thread of a request may make the next pass of the model, and keeps what it was lent for it: an arena of glibc, which
has 8 for each core, and the buffers of MKL, some 10 MiB a thread. So a server of 32 threads grew by half a gigabyte
while they took turns. Now all share a few arenas, and MKL returns its buffers; no pass takes longer for it.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8  # of malloc.h
MAX_ARENAS = 2
FAST_MKL = "MKL_DISABLE_FAST_MM"
"""MKL reads it when it is loaded, with torch."""


def bound_allocators() -> None:
    """Let all threads of this process hold little; what the environment says of MKL stays."""
    os.environ.setdefault(FAST_MKL, "1")
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MAX_ARENAS)
