"""Load: nothing is lost and memory stays flat. `-m slow -o log_cli=true --log-cli-level=info` shows the figures."""

from __future__ import annotations

import logging
import os
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
    """Resident bytes of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * float(status.split("VmRSS:")[1].split()[0])


@pytest.mark.slow
def test_many_clients_lose_no_request_and_memory_stays_flat(tmp_path: Path, nano: Recognizer) -> None:
    wanted = {clip: nano.transcribe(clip).text for clip in CLIPS}
    until, times, sizes = time.monotonic() + SECONDS, list[float](), list[float]()

    def ask(number: int, url: str, process: subprocess.Popen[bytes]) -> None:
        with httpx2.Client(base_url=url, timeout=600, headers={"Authorization": f"Bearer {KEY}"}) as client:
            while time.monotonic() < until:
                clip = CLIPS[(number + len(times)) % len(CLIPS)]
                began = time.monotonic()
                answer = client.post(
                    "/v1/audio/transcriptions", data={"model": "nano"}, files={"file": clip.read_bytes()}
                )
                assert answer.json()["text"] == wanted[clip]
                times.append(time.monotonic() - began)
                sizes.append(memory(process))

    with running(tmp_path, "--model", "nano") as (url, process), ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(ask, number, url, process) for number in range(CLIENTS)]:
            done.result()
    ordered, third = sorted(times), len(sizes) // 3
    LOG.info(
        f"{len(times)} requests, p50 {ordered[len(times) // 2]:.2f} s, p95 {ordered[int(len(times) * 0.95)]:.2f} s"
    )
    LOG.info(f"memory: {statistics.mean(sizes[third : 2 * third]) / 2**20:.0f} MiB, then {sizes[-1] / 2**20:.0f} MiB")
    assert len(times) > CLIENTS
    assert statistics.mean(sizes[2 * third :]) < 1.05 * statistics.mean(sizes[third : 2 * third])
