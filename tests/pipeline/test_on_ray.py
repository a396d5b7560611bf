"""Ray gives the files of the loop, workers that die among them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from osum.errors import EndpointUnusableError, OsumError
from osum.pipeline import on_ray
from osum.pipeline.folder import RunFolder, Unit
from osum.pipeline.run import run, units_of
from pipeline.stage import WHOLE, files_of, plan, sounds

CHILD = """
import os, sys, time
from pathlib import Path
from pipeline.stage import WHOLE, plan, sounds
from osum.pipeline.on_ray import OnRay
from osum.pipeline.run import run
runner = OnRay("local")
runner._start()
print("ready", flush=True)
began = time.monotonic()
run(plan(*WHOLE), sounds(Path(sys.argv[1]), int(sys.argv[3])), Path(sys.argv[2]), runner)
print(time.monotonic() - began)
"""
needs_ray = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import ray.data"], capture_output=True, check=False).returncode != 0,
    reason="Ray is not installed: pip install 'osum[ray]'",
)


HUNG = 1800  # s; nothing is expected to take as long


@contextmanager
def child(folder: Path, out: Path, rows: int) -> Iterator[subprocess.Popen[bytes]]:
    """A run on a Ray of its own, in a session of its own of which nothing is left behind; it begins now."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # what else fills the memory of the machine is no matter of these tests
    }
    started = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(out), str(rows)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        assert line == b"ready\n", line
        yield started
    finally:
        for process in processes_of(started.pid, "."):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        started.communicate(timeout=HUNG)


WORKERS = "ray::.*Map"
"""Names of the processes that do units. Ray's own agents are `ray::...Agent`, and it ends when one of them does."""
HEAD = ".*/raylet$"


def processes_of(session: int, name: str) -> list[int]:
    """The processes of a session whose command is so called."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            told = status.with_name("cmdline").read_bytes().split(b"\0")[0].decode()
            if re.match(name, told) and int(status.read_text().rpartition(")")[2].split()[3]) == session:
                found.append(int(status.parent.name))
    return found


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_loop(tmp_path: Path) -> None:
    run(plan(*WHOLE), sounds(tmp_path / "in", 40), tmp_path / "whole")
    with child(tmp_path / "in", tmp_path / "out", 40) as ran:
        assert ran.wait(HUNG) == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@needs_ray
@pytest.mark.slow
def test_killed_workers_cost_nothing_but_time(tmp_path: Path) -> None:
    run(plan(*WHOLE), sounds(tmp_path / "in", 40), tmp_path / "whole")
    kills = 0
    with child(tmp_path / "in", tmp_path / "out", 40) as ran:
        while ran.poll() is None and kills < 3:
            for worker in processes_of(ran.pid, WORKERS)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    kills += 1
            time.sleep(0.3)
        assert ran.wait(HUNG) == 0 and kills
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@needs_ray
@pytest.mark.slow
def test_a_head_that_dies_ends_the_run_which_continues(tmp_path: Path) -> None:
    run(plan(*WHOLE), sounds(tmp_path / "in", 40), tmp_path / "whole")
    kept: list[Path] = []
    with child(tmp_path / "in", tmp_path / "out", 40) as ran:
        while ran.poll() is None and not kept:
            kept = list((tmp_path / "out/steps").glob("01-*/*.jsonl"))
            time.sleep(0.05)
        for head in processes_of(ran.pid, HEAD):
            os.kill(head, signal.SIGKILL)
        assert ran.wait(HUNG) != 0 and all(path.exists() for path in kept)
    with child(tmp_path / "in", tmp_path / "out", 40) as again:
        assert again.wait(HUNG) == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_unit_travels_as_its_keys_and_comes_back_with_its_counts(tmp_path: Path) -> None:
    """What a task of Ray does, without Ray."""
    made = plan("decode", "test-guess")
    run(made, sounds(tmp_path / "in", 7), tmp_path / "whole")
    before = [Unit("00-input", at, path.stem.split("-")[1]) for at, path in enumerate(inputs(tmp_path / "whole"))]
    segment = [(placed, units(tmp_path / "whole", placed.name)) for placed in made.steps]
    shutil.copytree(tmp_path / "whole/steps/00-input", tmp_path / "out/steps/00-input")
    found = []
    for item in on_ray._items(segment, before):
        moved = item
        for at, placed in enumerate(made.steps):
            moved = on_ray._task(tmp_path / "out", placed, tmp_path / "answers", at, moved)
        found += list(on_ray._done(moved, segment))
    assert [done.unit for done in found] == [segment[at][1][shard] for shard in range(2) for at in range(2)]
    for name in ("01-decode", "02-test-guess"):
        assert files_of(tmp_path / "out/steps" / name) == files_of(tmp_path / "whole/steps" / name)


def test_a_fault_that_ends_the_run_travels_as_words(tmp_path: Path) -> None:
    made = plan("decode")
    unit = Unit(made.steps[0].name, 0, "key")
    item = {"number": 0, "before": ["00-input", "none"], "keys": ["key"], "done": [], "fault": ""}
    failed = on_ray._task(tmp_path, made.steps[0], tmp_path / "answers", 0, item)
    assert failed["fault"].startswith("InputError: ")
    with pytest.raises(OsumError):
        list(on_ray._done(failed, [(made.steps[0], [unit])]))
    with pytest.raises(EndpointUnusableError, match="down"):
        list(on_ray._done({**failed, "fault": "EndpointUnusableError: down"}, [(made.steps[0], [unit])]))


def inputs(out: Path) -> list[Path]:
    return sorted((out / "steps/00-input").glob("*.jsonl"))


def units(out: Path, step: str) -> list[Unit]:
    return list(units_of(RunFolder(out), step))
