"""The script that measures labelling runs whole where there is no accelerator, and says what that is worth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "labelling.py"
WORK = "--config full --device cpu --sets L6 --clips 2 --seconds 1 --tokens 3 --turns 1 --threads 1"


def test_without_an_accelerator_a_tiny_model_shows_that_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), *WORK.split(), "--out", str(tmp_path / "found.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Full size: not measured"), done.stderr
    ways = json.loads((tmp_path / "found.json").read_text("utf8"))["sets"]["L6"]["ways"]
    assert list(ways) == ["original", "stock", "ours", "given"]
    assert ways["stock"]["equal_to_ours"] == 1
    for row in ways.values():
        assert row["tokens_per_clip"] > 6 and row["clips_per_second"] > 0
