"""Cutting: from a source of sound to its windows, one by one; what a process that reads ahead does.

Loads neither torch nor transformers, which take seconds: a worker starts in a tenth of one. Knows no model but the
longest window that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from osum import audio
from osum.corpus.clips import ClipAudio
from osum.errors import OsumError
from osum.listening.longform import Samples, Window, windows
from osum.listening.vad import detector_named
from osum.listening.workers import muted
from osum.utterance import Utterance


@dataclass(frozen=True)
class SoundSource:
    """What to read: a manifest row, or anything `osum.audio` takes, a channel of it, a stretch of it in seconds."""

    audio: Any
    """A row has its own channel and stretch; an `OsumError` says why there is nothing to read."""
    channel: Any = "mix"
    start: float | None = None
    end: float | None = None

    @property
    def name(self) -> str:
        """What an error calls it."""
        if isinstance(self.audio, Utterance):
            return self.audio.path
        return str(self.audio) if isinstance(self.audio, (str, Path)) else "the given audio"

    def blocks(self, notice: audio.Notice) -> Iterator[Samples]:
        """The samples (S,) at 16 kHz, block by block."""
        if isinstance(self.audio, OsumError):
            raise self.audio
        if isinstance(self.audio, Utterance):
            return ClipAudio().blocks(self.audio, notice)
        return audio.read_blocks(self.audio, channel=self.channel, start=self.start, end=self.end, notice=notice)


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class Stretch:
    """One window of a source, or a silence."""

    start: int
    """Samples of the source before it."""
    num_samples: int
    samples: Samples | None
    """(S,); None where it is silent."""
    last: bool
    """Whether the source ends with it."""
    shares: bool = False
    """Whether the window before it or behind it holds some of its samples as well."""
    notes: tuple[str, ...] = ()
    """Of the last one: what is suspicious about the whole source."""


@dataclass(frozen=True)
class Failure:
    """Why a source brings nothing more."""

    message: str


Found = Stretch | Failure
Cut = Callable[[SoundSource, Callable[[], None]], Iterator[Stretch]]
"""From a source to its windows; calls its second argument at each block that was read."""


def stretches(max_samples: int, vad: str, source: SoundSource, alive: Callable[[], None]) -> Iterator[Stretch]:
    """The windows of one source, each given when the next was read, so that the last one is known.

    `alive` is called at each block that was read: hours of silence bring no window.

    Raises:
        OsumError: the source cannot be read, where the fault is met.
    """

    notes: list[audio.Note] = []

    def blocks() -> Iterator[Samples]:
        for block in source.blocks(notes.append):
            alive()
            yield block

    held: Stretch | None = None
    for found in windows(blocks(), max_samples, detector_named(vad)):
        shares = held is not None and held.start + held.num_samples > found.start
        if held is not None:
            yield replace(held, shares=held.shares or shares)
        samples = found.samples if isinstance(found, Window) else None
        held = Stretch(found.start, found.end - found.start, samples, last=False, shares=shares)
    if held is not None:
        yield replace(held, last=True, notes=tuple(note.message for note in notes))


def found_in(cut: Cut, source: SoundSource, alive: Callable[[], None]) -> Iterator[Found]:
    """The windows of a source, and why there are no more where it breaks off."""
    try:
        yield from cut(source, alive)
    except OsumError as fault:
        yield Failure(str(fault))


def work(pipe: Connection, cut: Cut) -> None:
    """What a worker does: take a source, send its windows, until there are no more."""
    with suppress(EOFError, ConnectionError, KeyboardInterrupt), muted():
        _report_alive(pipe)  # loaded: from here on the clock runs
        while (source := pipe.recv()) is not None:
            for found in _all_found(cut, source, lambda: _report_alive(pipe)):
                pipe.send(found)


def _report_alive(pipe: Connection) -> None:
    pipe.send(None)


def _all_found(cut: Cut, source: SoundSource, alive: Callable[[], None]) -> Iterator[Found]:
    """As `found_in`, and faults that no error of ours stands for: nobody would see the traceback of a worker."""
    try:
        yield from found_in(cut, source, alive)
    except (EOFError, ConnectionError):
        raise  # of the pipe: nobody listens any more
    except Exception as fault:
        said = " ".join(f"{type(fault).__name__}: {fault}".split())
        yield Failure(f"{source.name}: could not be read ({said}); if the file is in order, please report it")
