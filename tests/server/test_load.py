"""Load: nothing is lost and memory stays flat. `-m slow -o log_cli=true --log-cli-level=info` shows the figures."""

from __future__ import annotations

import itertools
import logging
import os
import resource
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from osum.listening.recognizer import Recognizer
from server.conftest import KEY, SAMPLES, running

LOG = logging.getLogger(__name__)
SECONDS = float(os.environ.get("OSUM_LOAD_SECONDS", "600"))
CLIENTS = 32
CLIPS = sorted(SAMPLES.glob("*.flac"))


def memory(process: subprocess.Popen[bytes]) -> float:
    """Resident MiB of a server and of the processes that decode for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (str(process.pid), *children))
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
def test_many_clients_lose_no_request_and_memory_stays_flat(
    tmp_path: Path, nano: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    """Flat: in the last third of the time it takes at most 2 % more than in the second; the first is the warm-up."""
    caplog.set_level(logging.WARNING, "httpx2")  # a line for each request
    wanted = {clip: nano.transcribe(clip).text for clip in CLIPS}
    until, asked = time.monotonic() + SECONDS, itertools.count()
    times, sizes = list[float](), list[float]()

    def ask(url: str) -> None:
        with httpx2.Client(base_url=url, timeout=600, headers={"Authorization": f"Bearer {KEY}"}) as client:
            while time.monotonic() < until:
                clip = CLIPS[next(asked) % len(CLIPS)]
                began = time.monotonic()
                answer = client.post(
                    "/v1/audio/transcriptions", data={"model": "nano"}, files={"file": clip.read_bytes()}
                )
                assert answer.json()["text"] == wanted[clip]
                times.append(time.monotonic() - began)

    with running(tmp_path, "--model", "nano") as (url, process), ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask, url) for _ in range(CLIENTS)]
        while not all(client.done() for client in clients):
            sizes.append(memory(process))
            time.sleep(SECONDS / 300)
        for client in clients:
            client.result()
    cuts, third = statistics.quantiles(times, n=20), len(sizes) // 3
    means = [statistics.mean(sizes[at : at + third]) for at in range(0, 3 * third, third)]
    LOG.info(f"{len(times)} of {next(asked)} requests answered, p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s")
    LOG.info(f"MiB, mean of each third: {', '.join(f'{mean:.0f}' for mean in means)}; at the end {sizes[-1]:.0f}")
    assert len(times) > CLIENTS
    assert means[2] < 1.02 * means[1]
