"""Speed, memory and recovery of the data engine: `python benchmarks/pipeline.py WHAT`.

steps     rows and seconds of sound a second for each step, on the sample clips repeated, one process
memory    peak memory of a run over ROWS rows of text through two steps (`--rows 10000000` is the dry run)
machines  simulates 50,000 hours on 100 machines of which a tenth stops at random moments, from the speed of a unit
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Line
from osum.pipeline.plan import plan_of
from osum.pipeline.row import NO_SOUND
from osum.pipeline.run import run
from osum.utterance import Utterance

SAMPLES = Path(__file__).parents[1] / "samples/manifest.jsonl"
STEPS = ("decode", {"cut": {"longest": 12}}, "quality", "loudness", "fingerprint", "duplicates", "split",
         {"noise": {"keep_clean": False}}, {"ask": {"model": "nano", "task": "SGC"}}, "text")  # fmt: skip


def steps(rows: int) -> None:
    """Each step alone on the rows that the steps before it kept."""
    clips = [row for row in read_manifest(SAMPLES) if row.text]
    lines = [Line(str(at), replace(clips[at % len(clips)], id=str(at))) for at in range(rows)]
    print("| step | rows/s | times real time |\n|---|---:|---:|")
    with TemporaryDirectory() as folder:
        for count in range(1, len(STEPS) + 1):
            plan = plan_of({"name": "speed", "steps": list(STEPS[:count]), "rows_per_shard": 50})
            began = time.process_time()
            summary = run(plan, lines, Path(folder))
            spent, (name, tally) = time.process_time() - began, summary.steps[-1]
            seconds = tally.seconds_in or 1e-9
            print(f"| {name.partition('-')[2]} | {tally.rows_in / spent:,.0f} | {seconds / spent:,.0f} |", flush=True)


def memory(rows: int) -> None:
    """Rows of text, so that the driver does nothing but what it does for every row."""

    def lines() -> Iterator[Line]:
        text = "the train leaves at nine"
        return (Line("", Utterance(str(at), NO_SOUND, text=text, duration=2.0, language="en")) for at in range(rows))

    plan = plan_of({"name": "dry", "steps": ["text", "split"], "rows_per_shard": 10_000})
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        summary = run(plan, lines(), Path(folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spent = time.monotonic() - began
    figures = {"rows": summary.kept.rows_out, "seconds": round(spent), "rows_per_second": round(rows * 3 / spent)}
    print(json.dumps({**figures, "peak_mib": round(peak)}))


def machines(unit_hours: float, speed: float) -> None:
    """50,000 hours on 100 machines of which a share stops once, at random moments; the worst of twenty draws."""
    print("| machines that stop | hours, worst of 20 | units done again |\n|---:|---:|---:|")
    for failing in (0.0, 0.1, 0.5, 1.0):
        drawn = [simulated(50_000, 100, failing, unit_hours, speed, seed) for seed in range(20)]
        hours, lost = max(drawn)[0], max(lost for _, lost in drawn)
        print(f"| {100 * failing:.0f} | {hours:.2f} | {lost} |")


def simulated(
    hours: float, count: int, failing: float, unit_hours: float, speed: float, seed: int
) -> tuple[float, int]:
    """Hours until all is done and units that were lost: whoever is free takes a unit, a machine that stops loses its
    own, and is back after half an hour."""
    drawn = random.Random(seed)
    units, lost, end = round(hours / unit_hours), 0, 0.0
    each = unit_hours * 3600 / speed
    ideal = units * each / count
    stops = {machine: drawn.uniform(0, ideal) for machine in drawn.sample(range(count), round(count * failing))}
    free = [(0.0, machine) for machine in range(count)]
    heapq.heapify(free)
    while units:
        now, machine = heapq.heappop(free)
        stop = stops.get(machine)
        if stop is not None and now <= stop < now + each:
            lost += 1
            del stops[machine]
            heapq.heappush(free, (stop + 1800, machine))
        else:
            units -= 1
            end = max(end, now + each)
            heapq.heappush(free, (now + each, machine))
    return end / 3600, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "memory", "machines"))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--speed", type=float, default=50.0, help="times real time of one machine, over all steps")
    parser.add_argument("--unit-hours", type=float, default=0.5, help="hours of sound in a shard")
    given = parser.parse_args()
    if given.what == "machines":
        machines(given.unit_hours, given.speed)
    else:
        {"steps": steps, "memory": memory}[given.what](given.rows)


if __name__ == "__main__":
    main()
