"""Readers: processes that decode what clients send, each within limits of length, time and memory.

Loads neither torch nor the web framework, so that a reader starts in a tenth of a second.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.errors import AudioError, CancelledError, MissingExtraError, OsumError
from osum.listening.workers import context, muted

Samples = NDArray[np.float32]
TOO_LONG = "too long"
"""The kind of error of a recording over the limit."""
MAX_MEMORY = 4 * 2**30
"""Bytes of address space of a reader, far more than any codec takes."""
TICK = 0.05
"""Seconds between two looks whether the client is still there."""
STARTING = 60.0
"""Seconds in which a new reader may load what it needs."""


@dataclass(eq=False)
class _Reader:
    process: BaseProcess
    pipe: Connection


@dataclass(frozen=True)
class ReadingResult:
    """What a reader found: so many samples and what is suspicious about them, or an error and its kind."""

    num_samples: int = 0
    notes: tuple[str, ...] = ()
    error: str | None = None
    kind: str = "audio"


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class DecodedSound:
    """A recording that was decoded."""

    samples: Samples
    """(S,) at 16 kHz, on disk rather than in memory."""
    notes: tuple[str, ...] = ()
    """What is suspicious about it."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


class Readers:
    """Some processes, each decoding one recording at a time."""

    def __init__(self, number: int, max_seconds: float, deadline: float) -> None:
        self._number, self._max_seconds, self._deadline = number, max_seconds, deadline
        self._idle: queue.Queue[_Reader] = queue.Queue()
        self._starting = threading.Lock()
        self._context: Any = None

    def start(self) -> None:
        """Start the processes, unless they run; reading does it as well."""
        with self._starting:
            if self._context is None:
                self._context = context()
                for _ in range(self._number):
                    self._idle.put(self._hire())

    def read(self, source: Path, stopped: Callable[[], bool] = lambda: False) -> DecodedSound:
        """What is in a file.

        Raises:
            AudioError: the file cannot be decoded, is over the limits (kind `TOO_LONG`), or took its reader down.
            CancelledError: `stopped` said so.
        """
        self.start()
        reader = self._take(stopped)
        done = False
        try:
            with tempfile.NamedTemporaryFile(suffix=".f32", prefix="osum-") as out:  # unlinked once it is mapped
                reader.pipe.send((str(source), out.name, self._max_seconds))
                answer = self._answer(reader, stopped)
                done = True
                if answer.error is not None:
                    raise AudioError(answer.error, answer.kind)
                samples = np.memmap(out.name, np.float32, "r", shape=(answer.num_samples,))
                return DecodedSound(samples, answer.notes)
        finally:
            if not done:
                self._dismiss(reader)
                reader = self._hire()
            self._idle.put(reader)

    def _take(self, stopped: Callable[[], bool]) -> _Reader:
        while not stopped():
            with suppress(queue.Empty):
                return self._idle.get(timeout=TICK)
        raise CancelledError("nobody waits for this recording any more")

    def _answer(self, reader: _Reader, stopped: Callable[[], bool]) -> ReadingResult:
        until = time.monotonic() + self._deadline + STARTING
        try:
            while not reader.pipe.poll(TICK):
                if stopped():
                    raise CancelledError("nobody waits for this recording any more")
                if time.monotonic() > until:
                    raise AudioError(f"the file took more than {self._deadline:g} s to decode: send it as wav or flac")
            found = reader.pipe.recv()
        except (EOFError, OSError) as fault:
            raise AudioError("the file took its decoder down: convert it to wav or flac, and send that") from fault
        assert isinstance(found, ReadingResult)
        return found

    def _hire(self) -> _Reader:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._deadline), daemon=True)
        process.start()
        theirs.close()
        return _Reader(process, ours)

    @staticmethod
    def _dismiss(reader: _Reader) -> None:
        reader.process.kill()
        reader.process.join()
        reader.process.close()
        reader.pipe.close()

    def close(self) -> None:
        """End the processes that are idle; those at work end with this process."""
        with suppress(queue.Empty):
            while True:
                self._dismiss(self._idle.get_nowait())


def work(pipe: Connection, deadline: float) -> None:
    """What a reader does: take a file and where to write its samples, and answer, until nobody asks."""
    _limit_memory()
    with suppress(EOFError, ConnectionError, KeyboardInterrupt), muted():
        while True:
            source, out, max_seconds = pipe.recv()
            pipe.send(_decode(source, out, max_seconds, time.monotonic() + deadline))


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


def _decode(source: str, out: str, max_seconds: float, until: float) -> ReadingResult:
    """Write the samples of a file, counting them as they come: no header is believed."""
    num_samples, limit, notes = 0, max_seconds * SAMPLE_RATE, list[audio.Note]()
    try:
        with Path(out).open("wb") as file:
            for block in audio.read_blocks(source, notice=notes.append):
                num_samples += len(block)
                if num_samples > limit:
                    return ReadingResult(error=f"the recording is longer than {max_seconds:g} s: cut it", kind=TOO_LONG)
                if time.monotonic() > until:
                    return ReadingResult(error="the file takes too long to decode: send it as wav or flac")
                file.write(block.tobytes())
        return ReadingResult(num_samples, tuple(note.message for note in notes))
    except (AudioError, MissingExtraError) as fault:
        return ReadingResult(error=_unnamed(str(fault), source), kind=getattr(fault, "kind", "audio"))
    except OsumError as fault:
        return ReadingResult(error=_unnamed(str(fault), source))
    except Exception as fault:
        return ReadingResult(error=f"the file could not be decoded ({type(fault).__name__})")


def _unnamed(message: str, source: str) -> str:
    """The message without the place of the file here, which is none of the client's."""
    return message.replace(f"{source}: ", "the file ").replace(source, "the file")
