"""Voice activity: how likely somebody speaks, frame by frame, and from where to where.

Two detectors. silero-vad, when the extra `vad` is installed, detects speech through noise and music; without it
the level above an adaptive noise floor has to do. A detector holds weights alone: what it remembers of a
stream is a value that goes in and comes out, so one detector serves many streams.
Shapes: N frames, S samples of one frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.engine.options import VadName
from osum.errors import InputError, MissingExtraError

Floats = NDArray[np.float32]
State = TypeVar("State")

FRAME = 512
"""Samples of a frame (32 ms at 16 kHz): what silero-vad was trained on."""
FRAMES_PER_SECOND = SAMPLE_RATE / FRAME
DETECTORS = get_args(VadName)
FAINTEST = -80.0
"""dBFS; anything lower counts as this, so that the noise of a digital silence is no speech."""


class Detector(Protocol[State]):
    """Gives the probability of speech in each frame of a stream."""

    name: str

    def start(self) -> State:
        """What is remembered at the beginning of a stream."""

    def __call__(self, frames: Floats, state: State) -> tuple[Floats, State]:
        """Probabilities (N,) of the next frames (N, S) of a stream, at least one, and what is remembered then."""


@cache
def detector_named(name: str = "auto") -> Detector[Any]:
    """`silero`, `energy` (the level), or with `auto` silero-vad where it is installed and else the level.

    Raises:
        InputError: another name.
        MissingExtraError: silero-vad is asked for and not installed.
    """
    if name not in DETECTORS:
        raise InputError(f"voice activity by {name!r}: choose one of {', '.join(DETECTORS)}")
    path = _silero_path()
    if name == "silero" and path is None:
        raise MissingExtraError("silero-vad, with onnxruntime,", "vad")
    return Energy() if name == "energy" or path is None else Silero(path)


# By level


def levels(frames: Floats) -> Floats:
    """Level of frames (N, S) in dBFS: (N,). A constant offset does not count."""
    return np.asarray(10 * np.log10(np.maximum(frames.var(axis=1, dtype=np.float64), 1e-12)), dtype=np.float32)


class Energy:
    """Speech is what rises above the quietest moment of the last seconds; steady noise and hum do not."""

    name = "energy"
    memory = round(5 * FRAMES_PER_SECOND)
    """Frames in which the quietest is looked for (5 s): even fast speech holds its breath in that time."""
    smoothing = 3
    """Frames whose mean must be quiet: the dip between two periods of a low voice is no silence."""
    margin = 8.0
    """dB above the floor at which speech is as likely as not."""
    steepness = 0.5
    """Of the likelihood, per dB."""
    first_floor = -60.0
    """dBFS before the first frame: a recording that begins with speech is not its own noise."""

    def start(self) -> Floats:
        """Levels of the frames before the first."""
        return np.full(self.memory + self.smoothing - 2, self.first_floor, dtype=np.float32)

    def __call__(self, frames: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Probabilities (N,) of frames (N, S); the state is the levels of the frames before them."""
        known = np.concatenate([state, np.maximum(levels(frames), FAINTEST)])
        smooth = _windows(known, self.smoothing).mean(axis=1)
        floor = _windows(smooth, self.memory).min(axis=1)  # (N,)
        above = known[len(state) :] - floor - self.margin
        return 1 / (1 + np.exp(-self.steepness * above)), known[len(known) - len(state) :]


def _windows(values: Floats, size: int) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(values, size)


# By silero-vad


@dataclass(frozen=True, slots=True)
class SileroState:
    """What silero-vad remembers of a stream."""

    context: Floats
    """The last samples of the frame before, (1, 64)."""
    hidden: Floats
    """Of the LSTM, (1, 1, 128)."""
    cell: Floats


class Silero:
    """silero-vad (https://github.com/snakers4/silero-vad, MIT) by onnxruntime, many frames in one call.

    The package is not imported, since that sets the number of torch's threads; its weights are read.
    """

    name = "silero-vad"
    context = 64
    """Samples of the frame before that each frame is judged with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _session(self) -> Any:
        """Opened by the first frames: a clip of one window asks for none."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a frame is too small to share out
        return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])

    def start(self) -> SileroState:
        """Nothing was read yet."""
        blank = np.zeros((1, 1, 128), np.float32)
        return SileroState(np.zeros((1, self.context), np.float32), blank, blank)

    def __call__(self, frames: Floats, state: SileroState) -> tuple[Floats, SileroState]:
        """Probabilities (N,) of frames (N, S)."""
        ends = np.concatenate([state.context, frames[:, -self.context :]])  # (N + 1, 64)
        given = {"input": np.concatenate([ends[:-1], frames], axis=1), "h": state.hidden, "c": state.cell}
        probabilities, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], given)
        return probabilities, SileroState(ends[-1:], hidden, cell)


def _silero_path() -> Path | None:
    package = find_spec("silero_vad")
    if package is None or package.origin is None or find_spec("onnxruntime") is None:
        return None
    path = Path(package.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
    return path if path.is_file() else None


# From probabilities to spans


@dataclass(frozen=True, slots=True)
class SpanOptions:
    """What counts as one stretch of speech."""

    threshold: float = 0.5
    """Probability at which speech begins."""
    end_threshold: float = 0.35
    """Probability below which it may end; lower, so that it does not flicker."""
    min_speech: int = round(0.1 * FRAMES_PER_SECOND)
    """Frames; anything shorter is a click."""
    min_silence: int = round(0.25 * FRAMES_PER_SECOND)
    """Frames without speech that end it: more than the closure of a stop consonant."""


USUAL_SPANS = SpanOptions()


def speech_spans(probabilities: Iterable[float], options: SpanOptions = USUAL_SPANS) -> Iterator[tuple[int, int]]:
    """Yield the stretches of speech as frames [first, last), each as soon as it is known to have ended."""
    first: int | None = None
    last = 0
    for at, probability in enumerate(probabilities):
        if probability >= (options.threshold if first is None else options.end_threshold):
            first, last = at if first is None else first, at + 1
        elif first is not None and at + 1 - last >= options.min_silence:
            if last - first >= options.min_speech:
                yield first, last
            first = None
    if first is not None and last - first >= options.min_speech:
        yield first, last
