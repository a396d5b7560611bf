"""Long audio: cut into windows that the model takes, where the sound is quietest.

Knows nothing of the model but its limit. Works on a stream of blocks, so hours take the memory of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE

Samples = NDArray[np.float32]
FRAME = SAMPLE_RATE // 50
"""Samples of one energy frame (20 ms)."""
SMOOTHING = 15
"""Frames averaged before the quietest place is taken (0.3 s): a pause, not a stop consonant."""
EARLIEST = 0.5
"""Cuts are looked for in the last half of a window."""


@dataclass(frozen=True)
class Window:
    """One piece of a file: where it starts, in samples, and its sound (S,)."""

    start: int
    samples: Samples


def windows(blocks: Iterable[Samples], max_samples: int) -> Iterator[Window]:
    """Cut a stream of blocks (S_i,) into windows of at most `max_samples`; nothing is dropped or doubled."""
    buffer = np.zeros(0, dtype=np.float32)
    start = 0
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) > max_samples:
            cut = quietest(buffer[:max_samples])
            yield Window(start, buffer[:cut])
            buffer, start = buffer[cut:], start + cut
    if len(buffer) or start == 0:
        yield Window(start, buffer)


def quietest(samples: Samples) -> int:
    """The sample to cut at: the middle of the quietest 0.3 s in the last half of (S,)."""
    first = int(len(samples) * EARLIEST) // FRAME
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    energy = np.square(frames[first:], dtype=np.float64).sum(axis=1)
    if len(energy) <= SMOOTHING:
        return len(samples)
    smooth = np.convolve(energy, np.ones(SMOOTHING), mode="valid")
    return (first + int(smooth.argmin()) + SMOOTHING // 2) * FRAME
