"""Serving against one process: 8 clients of a server, and batches of 8, on the same clips in the same run.

    python benchmarks/serving.py [--model nano] [--rounds 3] [--clients 8] [--tasks ASR]

Each round first labels all clips in this process with a batch size of 8, then sends the same clips from 8 clients to a
server on this machine, whose process is idle meanwhile, as this one is while it serves. Prints the throughput of
both, their ratio (medians of the rounds), and the p50 and p95 of a request.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

import osum
from osum.audio import duration
from osum.listening.recognizer import Recognizer

SAMPLES = Path(__file__).parents[1] / "samples"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tasks", default="ASR")
    parser.add_argument("--copies", type=int, default=4, help="how often each clip of samples/ is sent in a round")
    arguments = parser.parse_args()
    clips = sorted(SAMPLES.glob("*.flac")) * arguments.copies
    seconds = sum(map(duration, clips))
    model = osum.load(arguments.model)
    url, process = _start(arguments.model)
    try:
        direct(model, clips[:8], arguments.tasks)
        served(url, clips[:8], arguments.tasks, arguments.clients)
        rounds = [
            (direct(model, clips, arguments.tasks), served(url, clips, arguments.tasks, arguments.clients))
            for _ in range(arguments.rounds)
        ]
    finally:
        process.terminate()
        process.wait()
    alone = statistics.median(took for took, _ in rounds)
    together = statistics.median(took for _, (took, _) in rounds)
    each = sorted(itertools.chain(*(times for _, (_, times) in rounds)))
    print(
        f"{len(clips)} clips, {seconds:.0f} s of audio, {arguments.rounds} rounds, {os.cpu_count()} cores, {model.name}"
    )
    print(f"one process, batches of 8: {seconds / alone:.1f} audio seconds a second")
    print(f"server, {arguments.clients} clients:        {seconds / together:.1f} audio seconds a second")
    print(f"ratio: {alone / together:.2f}")
    print(f"a request: p50 {each[len(each) // 2]:.2f} s, p95 {each[int(len(each) * 0.95)]:.2f} s")


def direct(model: Recognizer, clips: list[Path], tasks: str) -> float:
    """Seconds that one process takes."""
    began = time.perf_counter()
    assert all(row.error is None for row in model.label(list(clips), tasks=tasks, batch_size=8))
    return time.perf_counter() - began


def served(url: str, clips: list[Path], tasks: str, clients: int) -> tuple[float, list[float]]:
    """Seconds that a server takes for all, and for each."""

    def ask(clip: Path) -> float:
        began = time.perf_counter()
        answer = client.post(
            f"{url}/v1/audio/transcriptions", data={"model": "model", "tasks": tasks}, files={"file": clip.read_bytes()}
        )
        answer.raise_for_status()
        return time.perf_counter() - began

    with httpx2.Client(timeout=600) as client, ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        each = list(pool.map(ask, clips))
        return time.perf_counter() - began, each


def _start(model: str) -> tuple[str, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "osum", "serve", "--model", f"model={model}", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            if httpx2.get(f"{url}/ready").status_code == 200:
                return url, process
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
