"""Models that the tests of several folders share."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import soundfile
from clips import RATE, tone
from engine.tiny_checkpoint import checkpoint_of
from hypothesis import settings
from model.tiny import LAYOUTS

from osum.engine.engine import Engine
from osum.listening.recognizer import Recognizer

settings.register_profile("osum", deadline=None, max_examples=50)
settings.load_profile("osum")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is left in the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


PRELOADED = ["training.test_kill", "training.test_distribute", "pipeline.stage", "pypinyin", "matplotlib.pyplot"]


@pytest.fixture(scope="session")
def processes() -> Iterator[ForkServerContext]:
    """Starts processes that have loaded what they run, in milliseconds rather than seconds of imports."""
    context = multiprocessing.get_context("forkserver")
    end_forkserver()  # one that other tests left has loaded something else
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    yield context
    end_forkserver()


def end_forkserver() -> None:
    """End it at once: it ends by itself only when no process holds its pipe, and those that were forked since do."""
    server = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)
    server._stop()


@pytest.fixture(params=LAYOUTS)
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of a tiny model of each layout."""
    return Engine(checkpoint_of(request.param))


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(checkpoint_of("speech_first"))


@pytest.fixture
def short() -> Recognizer:
    """A recognizer that takes at most one second at once."""
    recognizer = Recognizer(checkpoint_of("speech_first"))
    recognizer._max_samples = 16_000
    return recognizer


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of sound, a tone of a second where nothing else is given."""

    def _write(name: str, samples: np.ndarray | None = None, rate: int = RATE, **options: str) -> Path:
        path = tmp_path / name
        soundfile.write(path, tone() if samples is None else samples, rate, **options)
        return path

    return _write
