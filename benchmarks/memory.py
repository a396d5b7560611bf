"""Memory of `osum label` on one long recording, above what the same command takes for a short one.

    python benchmarks/memory.py --hours 10 --speech 0.05 [--formats wav flac opus mp3] [--tasks all] [--out FILE.json]

The recording is made of the clips of `samples/`, one after the other, and of faint noise for the rest of each ten
minutes. Memory is what the command and all processes it started hold, pages that they share counted once (PSS), looked
at five times a second; the short recording is twelve seconds of it. Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE, load

ROOT = Path(__file__).parents[1]
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
PERIOD = 600.0  # seconds from one stretch of speech to the next
SHORT = 12.0  # seconds
FAINT = 1e-4  # of full scale: -80 dBFS, which is no digital silence
TICK = 0.2  # seconds


@dataclass(frozen=True)
class Measured:
    """One run."""

    form: str
    hours: float
    seconds: float
    """Of wall clock."""
    peak_mb: float
    rise_mb: float
    """Peak above that of the short recording."""
    segments: int


def blocks(samples: Path, speech: float) -> Iterator[NDArray[np.float32]]:
    """The recording without an end, a clip or a second of noise at a time."""
    clips = [load(path) for path in sorted(samples.glob("*.flac"))]
    chance = np.random.default_rng(0)
    turn = 0
    while True:
        at = 0
        while at < speech * PERIOD * SAMPLE_RATE:
            yield clips[turn % len(clips)]
            at += len(clips[turn % len(clips)])
            turn += 1
        while at < PERIOD * SAMPLE_RATE:
            yield (FAINT * chance.standard_normal(SAMPLE_RATE)).astype(np.float32)
            at += SAMPLE_RATE


def write(path: Path, form: str, seconds: float, samples: Path, speech: float) -> None:
    """A file of exactly so many seconds, block by block."""
    container, subtype = FORMATS[form]
    left = round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, format=container) as file:
        for block in blocks(samples, speech):
            file.write(block[:left])
            left -= len(block)
            if left <= 0:
                return


def descendants(process: int) -> Iterator[int]:
    """A process and all that it started, directly or not."""
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from descendants(int(child))


def held_mb(process: int) -> float:
    """What a process and all that it started hold, shared pages once; what ended meanwhile holds nothing."""
    held = 0
    try:
        for one in descendants(process):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            held += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return held * 1024 / 1e6


def run(path: Path, options: Sequence[str]) -> tuple[float, float, int]:
    """Wall seconds, peak memory (MB) and number of segments.

    Raises:
        SystemExit: the command failed; its own message stands on standard error.
    """
    out = path.with_suffix(".json")
    start, peak = time.perf_counter(), 0.0
    child = subprocess.Popen([sys.executable, "-m", "osum", "label", str(path), "-o", str(out), "--quiet", *options])
    while child.poll() is None:
        peak = max(peak, held_mb(child.pid))
        time.sleep(TICK)
    if child.returncode:
        raise SystemExit(f"osum label {path} failed with {child.returncode}")
    seconds = time.perf_counter() - start
    return seconds, peak, len(json.loads(out.read_text("utf8"))["segments"])


def measure(form: str, arguments: argparse.Namespace) -> Measured:
    """Both recordings of one format."""
    options = ["--model", arguments.model, "--tasks", arguments.tasks]
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / f"short.{form}", Path(folder) / f"long.{form}"
        write(short, form, SHORT, arguments.samples, 1.0)
        _, base, _ = run(short, options)
        write(long, form, arguments.hours * 3600, arguments.samples, arguments.speech)
        seconds, peak, segments = run(long, options)
    return Measured(form, arguments.hours, round(seconds, 1), round(peak), round(peak - base), segments)


def main() -> None:
    """Measure and print a row for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0, help="of the long recording")
    parser.add_argument("--speech", type=float, default=0.05, help="share of it that is clips, not faint noise")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["wav"], help="of the file")
    parser.add_argument("--tasks", default="all", help="as osum label takes them")
    parser.add_argument("--model", default="nano", help="as osum label takes it")
    parser.add_argument("--samples", type=Path, default=ROOT / "samples", help="clips that it is made of")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    print("| format | hours | speech | segments | seconds | peak MB | above a short clip, MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for form in arguments.formats:
        row = measure(form, arguments)
        share = f"{row.segments} | {row.seconds:.0f} | {row.peak_mb:.0f} | {row.rise_mb:.0f}"
        print(f"| {row.form} | {row.hours:g} | {arguments.speech:g} | {share} |", flush=True)
        rows.append(asdict(row))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
