"""Ray gives the files of the loop, workers that die among them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from osum.pipeline.run import run
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


def child(folder: Path, out: Path, rows: int) -> subprocess.Popen[bytes]:
    """A run on a Ray of its own, in a session of its own; it has begun when this returns."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
    started = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(out), str(rows)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert started.stdout is not None
    line = started.stdout.readline()
    assert line == b"ready\n", (line, started.communicate()[1].decode())
    return started


def workers_of(session: int) -> list[int]:
    """The processes of Ray that do units: those below a process, by name."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            text = status.read_text()
            name = status.with_name("cmdline").read_bytes().split(b"\0")[0].decode()
            if name.startswith("ray::") and "IDLE" not in name and int(text.rpartition(")")[2].split()[3]) == session:
                found.append(int(status.parent.name))
    return found


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_loop(tmp_path: Path) -> None:
    run(plan(*WHOLE), sounds(tmp_path / "in", 40), tmp_path / "whole")
    ran = child(tmp_path / "in", tmp_path / "out", 40)
    _, err = ran.communicate(timeout=240)
    assert ran.returncode == 0, err.decode()
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
