"""Time and memory of `osum label samples/` on this machine, of starting osum, and the sizes of what is shipped.

    python benchmarks/label.py [--model NAME_OR_DIR] [--samples DIR] [--out FILE.json] [--wheel]

Cold is a fresh process from start to end with the files in the system's cache, warm is a pass over all clips by a
model that has answered them once. One clip of 3 s is labelled next to a process that only imports what osum stands on
(`FLOOR`), turn about, so that what osum adds can be read off. Run it on an idle machine: the load it found is in the
report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

# Nothing heavy is imported up here: a child's peak memory counts from what its parent held when it started it.

ROOT = Path(__file__).parents[1]
COLD_RUNS, WARM_RUNS, START_RUNS, PAIRS = 3, 5, 5, 5
TASKS = ("ASR", "all")
BATCH_SIZES = (1, 8, 16)
FLOOR = "import torch, transformers.models.qwen2.modeling_qwen2"
SHORT = 3.0
"""Seconds of the one clip; the sample nearest to it is taken."""
IMPORT = "import time; start = time.perf_counter(); import osum; print(time.perf_counter() - start)"


class Ran(NamedTuple):
    """What one process took."""

    seconds: float
    """From start to end."""
    cpu_seconds: float
    """Of the processor, without those of the processes that read, which end with it."""
    peak_mb: float
    """Of resident memory."""


def run(command: Sequence[str]) -> Ran:
    """Run one process.

    Raises:
        SystemExit: the command failed; its own message stands on standard error.
    """
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {child.returncode}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)  # Linux counts in KiB


def cold(model: str, samples: Path, tasks: str) -> dict[str, Any]:
    """A fresh process that labels the folder; one run before fills the system's cache."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "labels.jsonl")
        asked = ["--model", model, "--tasks", tasks, "-o", out, "--overwrite"]
        command = [sys.executable, "-m", "osum", "label", str(samples), *asked]
        runs = [run(command) for _ in range(1 + COLD_RUNS)][1:]
    seconds = [round(ran.seconds, 3) for ran in runs]
    peak = round(max(ran.peak_mb for ran in runs))
    return {"tasks": tasks, "seconds": median(seconds), "runs": seconds, "peak_mb": peak}


def one_clip(model: str, clip: str, duration: float) -> dict[str, Any]:
    """`osum label` on one short clip, all tasks, and `FLOOR`, turn about, `PAIRS` times after one that is dropped."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "label.json")
        label = [sys.executable, "-m", "osum", "label", clip, "--model", model, "-o", out, "--overwrite", "--quiet"]
        turns = [(run([sys.executable, "-c", FLOOR]), run(label)) for _ in range(1 + PAIRS)][1:]
    return {
        "clip": Path(clip).name,
        "audio_seconds": round(duration, 2),
        "floor": _medians([floor for floor, _ in turns]),
        "label": _medians([ours for _, ours in turns]),
    }


def _medians(runs: Sequence[Ran]) -> dict[str, float]:
    return {name: round(median(getattr(ran, name) for ran in runs), 3) for name in ("seconds", "cpu_seconds")}


def warm(recognizer: Any, clips: Sequence[str], tasks: str, batch_size: int) -> dict[str, Any]:
    """Passes over all clips, decoding of the files included, after one that is not counted."""
    seconds = []
    for _ in range(1 + WARM_RUNS):
        start = time.perf_counter()
        results = recognizer.label(list(clips), tasks=tasks, batch_size=batch_size)
        seconds.append(round(time.perf_counter() - start, 3))
    failed = [result.error for result in results if result.error]
    if failed:
        raise SystemExit(f"{len(failed)} clips were not answered: {failed[0]}")
    return {"tasks": tasks, "batch_size": batch_size, "seconds": median(seconds[1:]), "runs": seconds[1:]}


def starting() -> dict[str, float]:
    """Seconds of `import osum` alone, and of the whole process `osum --help`."""
    imports = [
        float(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout)
        for _ in range(START_RUNS)
    ]
    helps = [run([sys.executable, "-m", "osum", "--help"]).seconds for _ in range(START_RUNS)]
    return {"import_osum": round(median(imports), 3), "osum_help": round(median(helps), 3)}


def machine() -> dict[str, Any]:
    """The processor and how much of it torch uses."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        **versions,
    }


def wheel_megabytes() -> float:
    """Build the wheel in a temporary folder and weigh it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        return round(wheel.stat().st_size / 1e6, 2)


def folder_megabytes(folder: Path) -> float:
    """What all files of a checkpoint weigh."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


def measure(model: str, samples: Path, with_wheel: bool) -> dict[str, Any]:
    """Everything. What runs in processes of its own comes first, while this one is still small."""
    load = round(os.getloadavg()[0], 2)
    first = {"start": starting(), "cold": [cold(model, samples, tasks) for tasks in TASKS]}
    import osum
    from osum.audio import probe
    from osum.checkpoints.checkpoint import locate

    clips = sorted(map(str, samples.glob("*.flac")))
    lengths = {clip: probe(clip).duration for clip in clips}
    short = min(clips, key=lambda clip: abs(lengths[clip] - SHORT))
    one = one_clip(model, short, lengths[short])
    recognizer = osum.load(model)
    passes = [warm(recognizer, clips, tasks, size) for tasks in TASKS for size in BATCH_SIZES]
    sizes = {"checkpoint_mb": folder_megabytes(locate(model, True, None))}
    return {
        "machine": machine() | {"load_before": load},
        "clips": len(clips),
        "audio_seconds": round(sum(lengths.values()), 2),
        **first,
        "one_clip": one,
        "warm": passes,
        "sizes": sizes | ({"wheel_mb": wheel_megabytes()} if with_wheel else {}),
    }


def markdown(report: Mapping[str, Any], batch_size: int | None = None) -> str:
    """The report as a table between two sentences, with one batch size or all."""
    place, audio = report["machine"], report["audio_seconds"]
    rows = ["| `osum label samples/` | tasks | seconds | audio s per s | peak memory |", "|---|---|---|---|---|"]
    for row in report["cold"]:
        rows.append(_row("a fresh process", row, audio, f"{row['peak_mb']} MB"))
    for row in report["warm"]:
        if batch_size in (None, row["batch_size"]):
            rows.append(_row(f"warm, batches of {row['batch_size']}", row, audio, ""))
    sizes = ", ".join(f"{name.removesuffix('_mb')} {size:g} MB" for name, size in report["sizes"].items())
    start = report["start"]
    where = f"{report['clips']} clips, {audio:g} s of audio; {place['cpu']}, {place['cores']} cores, "
    where += f"{place['threads']} threads, torch {place['torch']}; medians."
    ends = f"`import osum` takes {start['import_osum']:.2f} s, `osum --help` {start['osum_help']:.2f} s; {sizes}."
    return "\n".join([where, "", *rows, "", *_added(report.get("one_clip")), ends])


def _added(one: Mapping[str, Any] | None) -> list[str]:
    """What osum adds to the imports it stands on; nothing of a report from before that was measured."""
    if one is None:
        return []
    ours, floor = one["label"], one["floor"]
    more, more_cpu = (ours[name] - floor[name] for name in ("seconds", "cpu_seconds"))
    return [
        f"One clip of {one['audio_seconds']:g} s in a fresh process: {ours['seconds']:.2f} s, of which `{FLOOR}` alone "
        f"takes {floor['seconds']:.2f} s; osum adds {more:.2f} s ({more_cpu:.2f} s of the processor).",
        "",
    ]


def _row(what: str, row: Mapping[str, Any], audio: float, memory: str) -> str:
    return f"| {what} | {row['tasks']} | {row['seconds']:.2f} | {audio / row['seconds']:.1f} | {memory} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time and memory of osum label on this machine.")
    parser.add_argument("--model", default="nano", help="name or folder of the checkpoint")
    parser.add_argument("--samples", type=Path, default=ROOT / "samples", help="folder of clips")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--wheel", action="store_true", help="build the wheel and weigh it as well")
    arguments = parser.parse_args()
    report = measure(arguments.model, arguments.samples.resolve(), arguments.wheel)
    text = json.dumps(report, indent=1)
    print(f"{markdown(report)}\n\n{text}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
