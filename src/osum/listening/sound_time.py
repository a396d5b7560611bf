"""Sound time: a clock that runs where there is sound. Words without a known time are spread over it, not over pauses.
Pure values.

1. A frame of log-mel features is loud where its mean is above a share of the way from the quiet to the loud frames.
2. The clock advances a whole frame in a loud frame and a little in any other.
3. A share of the sound between two moments is a moment again.

Example: of 3 s the second one is a pause. Two words of one length get 0 to 1 s and 2 to 3 s, about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LOUD = 0.35
"""Share of the way from the quiet frames to the loud ones."""
PAUSED = 0.05
"""What a frame that is not loud counts, so that every moment is another time."""


class SoundTime:
    """The clock of one clip, or of several one behind the other.

    Args:
        clips: log-mel features (M, F) and seconds of each.
    """

    def __init__(self, clips: Sequence[tuple[Tensor, float]]) -> None:
        speed = [_speed(features) for features, _ in clips]
        steps = [np.full(len(each), seconds / len(each)) for each, (_, seconds) in zip(speed, clips, strict=True)]
        self._seconds = np.concatenate([[0.0], *steps]).cumsum()  # (F + 1,)
        self._sound = np.concatenate([[0.0], *(one * step for one, step in zip(speed, steps, strict=True))]).cumsum()

    def moments(self, start: float, end: float, shares: Sequence[float]) -> list[float]:
        """When these shares of the sound between two moments have passed, in seconds."""
        first, last = np.interp([start, end], self._seconds, self._sound)
        found = np.interp(first + (last - first) * np.asarray(shares), self._sound, self._seconds)
        return [float(moment) for moment in found]


def _speed(features: Tensor) -> NDArray[np.float64]:
    """Of each frame (F,): 1 where it is loud, `PAUSED` elsewhere."""
    level = features.float().mean(0).cpu().numpy()
    quiet, loud = np.percentile(level, [5, 95])
    return np.where(level >= quiet + LOUD * (loud - quiet), 1.0, PAUSED)
