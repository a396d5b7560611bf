"""PackedAudio: all clips of a data set one behind the other in a raw file, read without decoding.

The file holds mono int16 samples, little endian; a row finds its clip by `extra["offset"]` (first
sample) and `extra["num_samples"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from osum.errors import AudioError
from osum.utterance import Utterance

AUDIO = "audio.i16"
"""Name of the file in a data set's folder."""
FULL_SCALE = 32768.0
"""int16 value of amplitude 1."""

Float32 = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]


def to_int16(samples: npt.NDArray[np.floating[Any]]) -> Int16:
    """Amplitudes (S,) in [-1, 1] to int16; louder ones are clipped."""
    return np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


class PackedAudio:
    """The packed file opened for reading; the system reads only the pages that are asked for."""

    def __init__(self, path: str | Path) -> None:
        try:
            self.samples: Int16 = np.memmap(Path(path), dtype="<i2", mode="r")
        except (OSError, ValueError) as fault:
            raise AudioError(f"packed audio {str(path)!r} cannot be opened ({fault}): build the data again") from fault

    def read(self, utterance: Utterance) -> Float32:
        """The clip's waveform (S,), float32 in [-1, 1).

        Raises:
            AudioError: the row does not lie in this file.
        """
        return self.read_int16(utterance).astype(np.float32) / np.float32(FULL_SCALE)

    def read_int16(self, utterance: Utterance) -> Int16:
        """The clip as stored (S,)."""
        offset, count = utterance.extra.get("offset"), utterance.extra.get("num_samples")
        if not isinstance(offset, int) or not isinstance(count, int) or not 0 <= offset <= offset + count <= self.size:
            raise AudioError(f"{utterance.id}: offset {offset!r} + {count!r} is not in {self.size} packed samples")
        return self.samples[offset : offset + count]

    @property
    def size(self) -> int:
        """Number of samples in the file."""
        return int(self.samples.size)


class PackedWriter:
    """Appends clips to a packed file; use it with `with`."""

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by __exit__
        self._offset = 0

    def append(self, samples: Int16) -> Mapping[str, int]:
        """Write a clip (S,); returns the two fields of `extra` that find it again."""
        self._file.write(samples.astype("<i2").tobytes())
        place = {"offset": self._offset, "num_samples": int(samples.size)}
        self._offset += int(samples.size)
        return place

    def flush(self) -> None:
        """Make what was appended readable for others."""
        self._file.flush()

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
