"""Random numbers by place, so that sound in pieces is made from those of the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 256  # columns drawn at a time


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers (1, C, ...) without an end: a pure function of seed, stream and place.

    Philox is a counter: each block of columns has a counter of its own, so no column depends on how many were
    asked for before it.

    Example:
        >>> noise = Noise(seed=1, stream=0, channels=2)
        >>> torch.equal(noise(0, 300), torch.cat([noise(0, 7), noise(7, 300)], dim=-1))
        True
    """

    seed: int
    stream: int
    """Distinguishes the uses of one seed."""
    channels: int

    def __call__(self, start: int, stop: int) -> Tensor:
        """Columns [start, stop), (1, C, stop - start), float32, on the CPU whatever the model's device."""
        first, last = start // BLOCK, -(-stop // BLOCK)
        blocks = [self._block(number) for number in range(first, last)] or [np.zeros((self.channels, 0), np.float32)]
        columns = np.concatenate(blocks, axis=1)[None, :, start - first * BLOCK : stop - first * BLOCK]
        return torch.from_numpy(columns.copy())

    def _block(self, number: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return generator(self.seed, self.stream, number).standard_normal((self.channels, BLOCK), dtype=np.float32)


def generator(seed: int, stream: int, block: int = 0) -> np.random.Generator:
    """The numbers of one block of one stream; any whole number is a seed."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, stream], counter=[0, block, 0, 0]))
