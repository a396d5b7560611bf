"""Long audio: cut into windows that the model takes, where nobody speaks.

1. A recording within the limit is one window, whatever it holds.
2. Long silences need no window. A silence is what is faint in itself and does not rise above its own noise;
   rain or a laugh is answered, though nobody speaks.
3. A window ends in the longest pause of its last half, else of its first, at the quietest place of the pause.
   Where there is no pause it ends at the limit, and the next begins some seconds before.

Knows nothing of the model but its limit. Works on a stream of blocks, so hours take the memory of a window,
and what it yields does not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osum.listening.vad import FRAME, FRAMES_PER_SECOND, Detector, Energy, detector_named, levels, speech_spans

Samples = NDArray[np.float32]

PAUSE = round(0.25 * FRAMES_PER_SECOND)
"""Frames of the shortest pause that is cut in."""
LONG_PAUSE = round(0.5 * FRAMES_PER_SECOND)
"""Frames from which a pause is as good as a longer one; then the later one is taken."""
MARGIN = 2
"""Frames at either end of a pause that are not cut in: words fade."""
FAINT = -50.0
"""dBFS; a silence is below this."""
SILENCE = round(3 * FRAMES_PER_SECOND)
"""Frames of the shortest silence that needs no window."""
EDGE = round(0.3 * FRAMES_PER_SECOND)
"""Frames of a silence that stay with the window next to it."""
OVERLAP = round(4 * FRAMES_PER_SECOND)
"""Frames that two windows share where there is no pause; at most a quarter of the limit."""
MIN_FRAMES = 16
"""Frames of the smallest limit (0.5 s), so that its halves and quarters are something."""


@dataclass(frozen=True)
class Window:
    """One piece of a file for the model."""

    start: int
    """Samples from the beginning of the stream."""
    samples: Samples
    """(S,)"""
    shared: int = 0
    """Samples at its beginning that the window before it ends with."""

    @property
    def end(self) -> int:
        """Samples from the beginning of the stream."""
        return self.start + len(self.samples)


@dataclass(frozen=True)
class Silence:
    """A stretch that needs no window, in samples from the beginning of the stream."""

    start: int
    end: int


Piece = Window | Silence


def windows(blocks: Iterable[Samples], max_samples: int, detector: Detector[Any] | None = None) -> Iterator[Piece]:
    """Cut a stream of blocks (S_i,) into windows of at most `max_samples` and silences.

    Each piece begins where the one before it ended, or `shared` samples before, and the last ends with the
    stream. Without a `detector` the best that is installed listens.
    """
    cutter = _Cutter(max_samples, detector)
    for block in blocks:
        cutter.held = np.concatenate([cutter.held, block])
        while len(cutter.held) >= cutter.reach:
            yield from cutter.cut()
    yield from cutter.rest()


class _Cutter:
    """The samples that are not yet given away, what is known of them, and where they begin."""

    def __init__(self, max_samples: int, detector: Detector[Any] | None) -> None:
        assert max_samples >= MIN_FRAMES * FRAME, f"a limit of {max_samples} samples is below {MIN_FRAMES * FRAME}"
        self.max_samples = max_samples
        self.limit = max_samples // FRAME  # frames
        self.tail = self.limit // 4
        """Frames of the shortest last window, so that no word or two are left to it."""
        self.reach = (self.limit + self.tail) * FRAME
        """Samples that are known before a cut is made, unless the stream ends with fewer."""
        self.start = 0
        self.held: Samples = np.zeros(0, np.float32)
        self.shared = 0  # frames
        self.silence: int | None = None
        """Where the silence began that is not given out yet."""
        self._detector = detector
        self._activity: _Activity | None = None

    def rest(self) -> Iterator[Piece]:
        """What is left when the stream has ended."""
        if self._activity is None and len(self.held) <= self.max_samples:
            yield Window(0, self.held)
            return
        while len(self.held):
            yield from self.cut()
        yield from self._pending_silence()

    def cut(self) -> Iterator[Piece]:
        """Decide about the first `reach` samples held, or all if they are fewer, and give some of them away."""
        if self._activity is None:
            self._activity = _Activity(self._detector or detector_named())
        self._activity.add(self.held[: self.reach])
        faint, speech, level = self._activity.known()
        lead = _run(faint)
        if lead == len(faint) and (self.silence is not None or lead >= SILENCE) and len(self.held) < self.reach:
            self._pass_over(len(self.held))
        elif lead >= SILENCE or (self.silence is not None and lead > EDGE):
            self._pass_over((lead - EDGE) * FRAME)
        else:
            yield from self._pending_silence()
            yield from self._window(faint, speech, level)

    def _pass_over(self, count: int) -> None:
        if self.silence is None:
            self.silence = self.start + self.shared * FRAME
        self._advance(count)

    def _pending_silence(self) -> Iterator[Silence]:
        if self.silence is not None:
            yield Silence(self.silence, self.start)
            self.silence = None

    def _window(self, faint: NDArray[np.bool_], speech: Samples, level: Samples) -> Iterator[Window]:
        fits = len(self.held) <= self.max_samples
        if end := _before_silence(faint, self.shared, len(level) if fits else self.limit):
            yield self._given(end * FRAME)
            self.silence = self.start
        elif fits:
            yield self._given(len(self.held))
        else:
            last = min(self.limit, len(level) - self.tail)
            half, early = self.limit // 2, self.shared + self.limit // 8
            if end := _in_pause(speech, level, half, last) or _in_pause(speech, level, early, half):
                yield self._given(end * FRAME)
            else:
                yield self._given(last * FRAME, min(OVERLAP, self.tail))

    def _given(self, size: int, back: int = 0) -> Window:
        """The first `size` samples, of which the last `back` frames stay for the next window."""
        window = Window(self.start, self.held[:size], self.shared * FRAME)
        self._advance(len(window.samples) - back * FRAME)
        self.shared = back
        return window

    def _advance(self, count: int) -> None:
        assert self._activity is not None and count > 0
        self.start += count
        self.held = self.held[count:]
        self._activity.forget(-(-count // FRAME))
        self.shared = 0


class _Activity:
    """What is known of each frame held: faint or not, probability of speech, level."""

    def __init__(self, detector: Detector[Any]) -> None:
        self._energy, self._detector = Energy(), detector
        self._energy_state, self._state = self._energy.start(), detector.start()
        self._rows: Samples = np.zeros((0, 3), np.float32)  # (N, 3)

    def add(self, samples: Samples) -> None:
        """Read the frames of (S,) that are new; an incomplete last frame is filled with its last sample."""
        new = samples[len(self._rows) * FRAME :]
        if not len(new):
            return
        frames = np.pad(new, (0, -len(new) % FRAME), mode="edge").reshape(-1, FRAME)
        active, self._energy_state = self._energy(frames, self._energy_state)
        speech, self._state = self._detector(frames, self._state)
        level = levels(frames)
        faint = (level < FAINT) & (active < 0.5)
        self._rows = np.concatenate([self._rows, np.stack([faint, speech, level], axis=1, dtype=np.float32)])

    def known(self) -> tuple[NDArray[np.bool_], Samples, Samples]:
        """Faint, probability of speech, level: (N,) each."""
        faint, speech, level = self._rows.T
        return faint > 0, speech, level

    def forget(self, count: int) -> None:
        """The first frames are given away."""
        self._rows = self._rows[count:]


def _run(flags: NDArray[np.bool_]) -> int:
    """How many leading flags are set."""
    return len(flags) if flags.all() else int(flags.argmin())


def _before_silence(faint: NDArray[np.bool_], first: int, last: int) -> int | None:
    """The frame within (first, last] shortly behind which the first long silence begins; None without one."""
    at = 0
    while at < len(faint):
        run = _run(faint[at:])
        if run >= SILENCE and first < at and at + EDGE <= last:
            return at + EDGE
        at += max(run, 1)
    return None


def _in_pause(speech: Samples, level: Samples, first: int, last: int) -> int | None:
    """The quietest frame of the best pause within [first, last]; None without a pause there."""
    edges = [0, *(edge for span in speech_spans(speech.tolist()) for edge in span), len(speech)]
    best: tuple[int, int, int] | None = None
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        inner = max(begin + MARGIN, first), min(stop - MARGIN, last)
        if stop - begin >= PAUSE and inner[0] < inner[1]:
            best = max(best or (0, 0, 0), (min(stop - begin, LONG_PAUSE), *inner))
    return None if best is None else best[1] + _quietest(level[best[1] : best[2]])


def _quietest(level: Samples) -> int:
    """The middle of the quietest stretch of a pause's length, or of all if it is shorter."""
    if len(level) <= PAUSE:
        return len(level) // 2
    power = 10 ** (level / 10)
    return int(np.convolve(power, np.ones(PAUSE), mode="valid").argmin()) + PAUSE // 2
