"""Feeding: from sources of sound to windows of features, in this process or in workers that read ahead.

A worker reads, decodes, resamples and featurises one file at a time, and hands each window over as it comes. A file
that breaks its worker, or of which nothing can be read for too long, is given up with an error, and a new worker goes
on with the next. Memory holds a few windows, whatever the length of a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Full, Queue
from typing import Any

import torch
from torch import Tensor

from osum import audio
from osum.corpus.clips import ClipAudio
from osum.errors import OsumError
from osum.listening.longform import Samples, Window, windows
from osum.listening.vad import detector_named
from osum.listening.workers import context, muted
from osum.model import OsumProcessor
from osum.utterance import Utterance

DEADLINE = 60.0
"""Seconds within which a worker has to read the next ten seconds of its file."""
AHEAD = 16
"""Windows kept ready before workers have to wait."""
TICK = 0.2
"""Seconds between two looks at the clock."""
STARTING = 600.0
"""Seconds a new worker may take to load what it needs, on top of the deadline."""


@dataclass(frozen=True)
class Source:
    """What to read: a manifest row, or anything `osum.audio` takes, a channel of it, a stretch of it in seconds."""

    audio: Any
    """A row tells its own channel and stretch."""
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
        if isinstance(self.audio, Utterance):
            return ClipAudio().blocks(self.audio, notice)
        return audio.read_blocks(self.audio, channel=self.channel, start=self.start, end=self.end, notice=notice)


@dataclass(frozen=True, eq=False)  # tensors have no truth value
class Piece:
    """One window, ready for the model."""

    start: int
    """Samples of the source before it."""
    num_samples: int
    features: Tensor | None
    """Log-mel (M, F); None where there is nothing to hear."""
    last: bool
    """Whether the source ends with it."""
    notes: tuple[str, ...] = ()
    """Of the last one: what is suspicious about the whole source."""


@dataclass(frozen=True)
class Failure:
    """Why a source brings nothing more."""

    message: str


News = Piece | Failure
Cut = Callable[[Source, Callable[[], None]], Iterator[Piece]]
"""From a source to its windows; calls its second argument at each block that was read."""


def read(
    sources: Iterable[Source],
    processor: OsumProcessor,
    max_samples: int,
    num_workers: int = 0,
    deadline: float = DEADLINE,
    vad: str = "auto",
) -> Iterator[tuple[int, News]]:
    """The windows of each source, by its number. Each source ends with a last piece or with a failure.

    Args:
        sources: read as they are needed.
        processor: makes the features.
        max_samples: longest window.
        num_workers: processes that read ahead; 0 reads here, source after source, and knows no deadline.
        deadline: seconds until a worker that can read nothing is killed.
        vad: finds the pauses, see `detector_named`.
    """
    cut = partial(pieces, processor, max_samples, vad)
    if num_workers:
        yield from _Crew(cut, num_workers, deadline).read(sources)
        return
    for number, source in enumerate(sources):
        yield from ((number, news) for news in _news(cut, source, lambda: None))


def pieces(
    processor: OsumProcessor, max_samples: int, vad: str, source: Source, alive: Callable[[], None]
) -> Iterator[Piece]:
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

    held: Piece | None = None
    for found in windows(blocks(), max_samples, detector_named(vad)):
        if held is not None:
            yield held
        features = processor.log_mel(found.samples) if isinstance(found, Window) else None
        held = Piece(found.start, found.end - found.start, features, last=False)
    if held is not None:
        yield replace(held, last=True, notes=tuple(note.message for note in notes))


def _news(cut: Cut, source: Source, alive: Callable[[], None]) -> Iterator[News]:
    try:
        yield from cut(source, alive)
    except OsumError as fault:
        yield Failure(str(fault))


def _work(pipe: Connection, cut: Cut) -> None:
    """What a worker does: take a source, send its windows, until there are no more."""
    torch.set_num_threads(1)
    with suppress(EOFError, ConnectionError, KeyboardInterrupt), muted():
        _tell_alive(pipe)  # loaded: from here on the clock runs
        while (source := pipe.recv()) is not None:
            for news in _all_news(cut, source, lambda: _tell_alive(pipe)):
                pipe.send(_packed(news))


def _tell_alive(pipe: Connection) -> None:
    pipe.send(None)


def _all_news(cut: Cut, source: Source, alive: Callable[[], None]) -> Iterator[News]:
    """As `_news`, and faults that no error of ours stands for: nobody would see the traceback of a worker."""
    try:
        yield from _news(cut, source, alive)
    except (EOFError, ConnectionError):
        raise  # of the pipe: nobody listens any more
    except Exception as fault:
        said = " ".join(f"{type(fault).__name__}: {fault}".split())
        yield Failure(f"{source.name}: could not be read ({said}); if the file is in order, please report it")


def _packed(news: News) -> tuple[Any, ...] | str:
    """Plain values: tensors would travel by shared memory and open files."""
    if isinstance(news, Failure):
        return news.message
    features = None if news.features is None else news.features.numpy()
    return news.start, news.num_samples, features, news.last, news.notes


def _unpacked(packed: tuple[Any, ...] | str) -> News:
    if isinstance(packed, str):
        return Failure(packed)
    start, num_samples, features, *rest = packed
    return Piece(start, num_samples, None if features is None else torch.from_numpy(features), *rest)


@dataclass(eq=False)
class _Worker:
    """A process, what it is at, and until when it has to bring something."""

    process: BaseProcess
    pipe: Connection
    number: int | None = None
    name: str = ""
    until: float = 0.0
    loaded: bool = False


class _Crew:
    """Workers, and a thread that hands out sources and takes windows ahead of the model."""

    def __init__(self, cut: Cut, num_workers: int, deadline: float) -> None:
        self._cut = cut
        self._size = num_workers
        self._deadline = deadline
        self._context = context()
        self._ready: Queue[tuple[int, News] | BaseException | None] = Queue(AHEAD)
        self._stopped = threading.Event()

    def read(self, sources: Iterable[Source]) -> Iterator[tuple[int, News]]:
        thread = threading.Thread(target=self._run, args=(sources,), daemon=True)
        thread.start()
        try:
            while (found := self._ready.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            self._stopped.set()
            thread.join()

    def _run(self, sources: Iterable[Source]) -> None:
        workers: list[_Worker] = []
        last: BaseException | None = None
        try:
            left = enumerate(sources)
            workers += [self._hire() for _ in range(self._size)]
            while not self._stopped.is_set():
                self._hand_out(workers, left)
                if not any(worker.number is not None for worker in workers):
                    break
                self._take(workers)
        except BaseException as fault:  # told where the results are read
            last = fault
        finally:
            for worker in workers:
                self._dismiss(worker)
            if last is not None:
                self._put(last)
            self._put(None)

    def _hand_out(self, workers: Sequence[_Worker], left: Iterator[tuple[int, Source]]) -> None:
        for worker in workers:
            if worker.number is None and (given := next(left, None)) is not None:
                worker.number, worker.name = given[0], given[1].name
                worker.until = time.monotonic() + self._deadline + (0 if worker.loaded else STARTING)
                with suppress(BrokenPipeError):  # it died; that shows when it is listened to
                    worker.pipe.send(given[1])

    def _take(self, workers: list[_Worker]) -> None:
        """One round of listening: windows, ends, deaths, deadlines."""
        busy = {worker.pipe: worker for worker in workers if worker.number is not None}
        heard = wait(list(busy), timeout=TICK)
        for pipe, worker in busy.items():
            if pipe in heard:
                self._hear(worker, workers)
            elif time.monotonic() > worker.until:
                self._replace(worker, workers, f"nothing could be read for {self._deadline:g} s: fetch it again")

    def _hear(self, worker: _Worker, workers: list[_Worker]) -> None:
        assert worker.number is not None
        try:
            packed = worker.pipe.recv()
        except (EOFError, ConnectionError):
            worker.process.join()
            self._replace(worker, workers, f"its reader died (exit code {worker.process.exitcode}): fetch it again")
            return
        worker.loaded, worker.until = True, time.monotonic() + self._deadline
        if packed is None:
            return
        number, found = worker.number, _unpacked(packed)
        if isinstance(found, Failure) or found.last:
            worker.number = None
        self._put((number, found))

    def _replace(self, worker: _Worker, workers: list[_Worker], message: str) -> None:
        assert worker.number is not None
        self._dismiss(worker)
        workers[workers.index(worker)] = self._hire()
        self._put((worker.number, Failure(f"{worker.name}: {message}")))

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._cut), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    @staticmethod
    def _dismiss(worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.process.close()
        worker.pipe.close()

    def _put(self, found: tuple[int, News] | BaseException | None) -> None:
        while not self._stopped.is_set():
            with suppress(Full):
                self._ready.put(found, timeout=TICK)
                return
