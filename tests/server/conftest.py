"""One real server for all tests of HTTP, and the stock clients that ask it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import uvicorn
from openai import OpenAI

import osum
from osum.audio import load
from osum.listening.recognizer import Recognizer
from osum.server.app import create_app
from osum.server.models import Models
from osum.server.options import ServerOptions
from server.realtime_clients import Live
from server.studio_browser import FLAGS, MIC_RATE, chromium, opened

SAMPLES = Path(__file__).parents[2] / "samples"
KEY = "sk-test-1234567890"
WORDS = SAMPLES / "en_word_times.flac"
"""1.4 s of English."""
LAUGH = SAMPLES / "laugh_1.flac"
MAX_SECONDS = 20
LIMITS = ["--max-upload-mb", "3", "--max-audio-seconds", str(MAX_SECONDS)]
Wav = Callable[..., bytes]


@contextmanager
def running(folder: Path, *arguments: str, key: str | None = KEY) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server process on a free port, until the block is left; its log is `folder/log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "OSUM_API_KEY": key or "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "osum", "serve", "--port", str(port), *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, folder / "log")
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
    assert "nothing was left unfinished" in (folder / "log").read_text()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx2.get(f"{url}/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def url(log_folder: Path) -> Iterator[str]:
    """Where a server with `nano` listens, by two names, with a key and small limits."""
    models = ["--model", "nano", "--model", "whisper-1=nano"]
    with running(log_folder, *models, *LIMITS) as (url, _):
        yield url


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def raw(url: str) -> Iterator[httpx2.Client]:
    """Sends what no SDK would."""
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def nano() -> Recognizer:
    """The same model in this process: what the server must answer."""
    return osum.load("nano")


def wav(seconds: float, rate: int = 16_000, level: float = 0.01, **options: str) -> bytes:
    """A file of noise, or of silence at a level of 0."""
    samples = np.zeros(int(seconds * rate), np.float32)
    if level:
        samples += np.random.default_rng(0).normal(0, level, len(samples)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=options.get("format", "wav"), subtype=options.get("subtype"))
    return file.getvalue()


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """A realtime server in this process."""
    server = Live()
    yield server
    server.stop()


# The studio in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone says a sample, over and over."""
    path = chromium()
    if path is None:
        pytest.skip("no chromium: apt install chromium, or name one in OSUM_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="not installed: pip install 'osum[dev]'")
    mic = tmp_path_factory.mktemp("mic") / "mic.wav"
    soundfile.write(mic, load(SAMPLES / "en_jfk.flac", rate=MIC_RATE), MIC_RATE, subtype="PCM_16")
    with playwright.sync_playwright() as made:
        found = made.chromium.launch(executable_path=path, args=[*FLAGS, f"--use-file-for-fake-audio-capture={mic}"])
        yield found
        found.close()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve labelled rows and their recordings."""
    lines = []
    for number in range(12):
        name = f"r{number:02d}.flac"
        shutil.copy(SAMPLES / ("laugh_1.flac" if number % 2 else "en_word_times.flac"), tmp_path / name)
        labels = {"emotion": "happy" if number % 2 else "sad", "gender": "male"}
        lines.append(json.dumps({"id": name[:3], "path": name, "text": "a girl for it", "labels": labels}))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def studio(nano: osum.Recognizer, corpus: Path) -> Iterator[str]:
    """The address of a running studio."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        options = ServerOptions(port=port, studio=True, review=str(corpus))
        app = create_app(Models.holding({"nano": nano, "twin": nano}), options)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(browser: Any, studio: str) -> Iterator[Any]:
    """The page of a studio at 1280 pixels."""
    watched = opened(browser, studio)
    yield watched.page
    watched.page.context.close()
    watched.check()
