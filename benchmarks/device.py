"""The device that a benchmark runs on: its ceilings, the fastest of some turns, and peak memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class peak:  # noqa: N801, a context manager is named as a function
    """Peak memory while a way runs: of the device, or resident on a CPU, looked at every 20 ms."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._done = threading.Event()
        self.megabytes = 0.0

    def __enter__(self) -> peak:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            self.megabytes = torch.cuda.max_memory_allocated() / 1e6
            return
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        size = os.sysconf("SC_PAGE_SIZE")
        while not self._done.is_set():
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            self.megabytes = max(self.megabytes, pages * size / 1e6)
            self._done.wait(0.02)


def ceilings(device: str, dtype: torch.dtype) -> dict[str, float]:
    """Measured FLOP/s of a product of matrices, and bytes/s of a sum over more than any cache holds."""
    size = 8192 if device == "cuda" else 2048
    left = torch.randn(size, size, dtype=dtype, device=device)
    long = torch.ones(1 << (30 if device == "cuda" else 27), dtype=torch.float32, device=device)
    return {
        "flops": 2 * size**3 / fastest(lambda: left @ left, device),
        "bytes": 4 * len(long) / fastest(long.sum, device),
    }


def fastest(run: Callable[[], Any], device: str, turns: int = 8) -> float:
    """Seconds of the fastest of some turns."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
