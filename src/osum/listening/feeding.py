"""Feeding: from sources of sound to windows of features, in this process or in workers that read ahead.

A worker reads, decodes, resamples and cuts one file at a time, and hands each window over as it comes; features are
made here, next to the model, so that a worker needs neither torch nor transformers. A file that breaks its worker, or
of which nothing can be read for too long, is given up with an error, and a new worker continues with the next.
Memory holds a few windows, whatever the length of a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import Full, Queue

from torch import Tensor

from osum.listening.cutting import Cut, Failure, Found, SoundSource, found_in, stretches, work
from osum.listening.longform import Samples
from osum.listening.workers import context
from osum.model import OsumProcessor

DEADLINE = 60.0
"""Seconds within which a worker has to read the next ten seconds of its file."""
AHEAD = 16
"""Windows kept ready before workers have to wait."""
TICK = 0.2
"""Seconds between two looks at the clock."""
STARTING = 600.0
"""Seconds a new worker may take to load what it needs, on top of the deadline."""


@dataclass(frozen=True, eq=False)  # tensors have no truth value
class Piece:
    """One window, ready for the model."""

    start: int
    """Samples of the source before it."""
    num_samples: int
    features: Tensor | None
    """Log-mel (M, F); None where it is silent."""
    last: bool
    """Whether the source ends with it."""
    shares: bool = False
    """Whether the window before it or behind it holds some of its samples as well."""
    notes: tuple[str, ...] = ()
    """Of the last one: what is suspicious about the whole source."""


News = Piece | Failure
LogMel = Callable[[Samples], Tensor]


def read(
    sources: Iterable[SoundSource],
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
    cut = partial(stretches, max_samples, vad)
    if num_workers:
        yield from _Crew(cut, processor.log_mel, num_workers, deadline).read(sources)
        return
    for number, source in enumerate(sources):
        yield from ((number, _featured(found, processor.log_mel)) for found in found_in(cut, source, lambda: None))


def _featured(found: Found, log_mel: LogMel) -> News:
    """With features (M, F) in place of samples (S,)."""
    if isinstance(found, Failure):
        return found
    features = None if found.samples is None else log_mel(found.samples)
    return Piece(found.start, found.num_samples, features, found.last, found.shares, found.notes)


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

    def __init__(self, cut: Cut, log_mel: LogMel, num_workers: int, deadline: float) -> None:
        self._cut = cut
        self._log_mel = log_mel
        self._size = num_workers
        self._deadline = deadline
        self._context = context()
        self._ready: Queue[tuple[int, News] | BaseException | None] = Queue(AHEAD)
        self._stopped = threading.Event()

    def read(self, sources: Iterable[SoundSource]) -> Iterator[tuple[int, News]]:
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

    def _run(self, sources: Iterable[SoundSource]) -> None:
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
        except BaseException as fault:  # raised where the results are read
            last = fault
        finally:
            for worker in workers:
                self._dismiss(worker)
            if last is not None:
                self._put(last)
            self._put(None)

    def _hand_out(self, workers: Sequence[_Worker], left: Iterator[tuple[int, SoundSource]]) -> None:
        for worker in workers:
            if worker.number is None and (given := next(left, None)) is not None:
                worker.number, worker.name = given[0], given[1].name
                worker.until = time.monotonic() + self._deadline + (0 if worker.loaded else STARTING)
                with suppress(BrokenPipeError):  # it died; that shows when it is listened to
                    worker.pipe.send(given[1])

    def _take(self, workers: list[_Worker]) -> None:
        """One round of listening: windows, ends, deaths, deadlines."""
        busy = {worker.pipe: worker for worker in workers if worker.number is not None}
        ready = wait(list(busy), timeout=TICK)
        for pipe, worker in busy.items():
            if pipe in ready:
                self._receive(worker, workers)
            elif time.monotonic() > worker.until:
                self._replace(worker, workers, f"nothing could be read for {self._deadline:g} s: fetch it again")

    def _receive(self, worker: _Worker, workers: list[_Worker]) -> None:
        assert worker.number is not None
        try:
            found = worker.pipe.recv()
        except (EOFError, ConnectionError):
            worker.process.join()
            self._replace(worker, workers, f"its reader died (exit code {worker.process.exitcode}): fetch it again")
            return
        worker.loaded, worker.until = True, time.monotonic() + self._deadline
        if found is None:
            return
        number = worker.number
        if isinstance(found, Failure) or found.last:
            worker.number = None
        self._put((number, _featured(found, self._log_mel)))

    def _replace(self, worker: _Worker, workers: list[_Worker], message: str) -> None:
        assert worker.number is not None
        self._dismiss(worker)
        workers[workers.index(worker)] = self._hire()
        self._put((worker.number, Failure(f"{worker.name}: {message}")))

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._cut), daemon=True)
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
