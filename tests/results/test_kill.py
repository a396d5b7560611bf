"""A run that is killed, at whatever moment and however often, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import write_checkpoint

from results import kills

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the tests of kills fork")
SAMPLES = Path(__file__).parents[2] / "samples"
RunKills = Callable[..., list[dict[str, Any]]]


def rows_of(path: Path) -> list[Any]:
    return sorted(map(json.loads, path.read_text("utf8").splitlines()), key=lambda row: row["id"])


@pytest.fixture
def run_kills(tmp_path: Path, processes: ForkServerContext) -> RunKills:
    """What the process that forks and kills has found."""

    def run(kill: Callable[..., None], *words: object) -> list[dict[str, Any]]:
        root, found = tmp_path / "runs", tmp_path / "found.jsonl"
        root.mkdir()
        process = processes.Process(target=kill, args=(root, found, *([list(map(str, words))] if words else ())))
        process.start()
        process.join()
        errors = found.with_suffix(".err").read_text()
        assert (process.exitcode, "Traceback" in errors) == (0, False), errors
        return [json.loads(line) for line in found.read_text().splitlines()]

    return run


def test_a_kill_at_any_file_operation_loses_a_part_at_most_and_doubles_nothing(run_kills: RunKills) -> None:
    reported = run_kills(kills.operations)
    whole = reported[-1]["lines"]
    assert [json.loads(line)["id"] for line in whole] == [item.id for item in kills.ITEMS]
    assert sum(run["killed"] for run in reported) > 50
    for run in reported:
        assert sorted(run["lines"]) == sorted(whole), run["fatal"]
        assert 0 <= run["lost"] <= kills.SIZE, run["fatal"]
        assert (run["left"], run["names"]) == (["asked.json"], [".rows.jsonl.parts", "rows.jsonl"]), run["fatal"]


def check_same(one: Any, other: Any) -> None:
    """Equal, probabilities to the last of their four digits: they are rounded, and batches differ."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            check_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            check_same(*pair)
    else:
        assert one == (pytest.approx(other, abs=1.01e-4) if isinstance(other, float) else other)


def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(tmp_path: Path, run_kills: RunKills) -> None:
    write_checkpoint(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for number in range(14):
        samples = np.random.default_rng(number).normal(0, 0.1, 1_000 + 200 * number)
        soundfile.write(tmp_path / f"in/{number}.wav", samples, 16_000)
    (tmp_path / "in/7.wav").write_text("this is no sound")
    words = ("--model", tmp_path / "model", "--tasks", "ASR,SGC", "--max-new-tokens", 3, "--batch-size", 2)
    words = (*words, "--num-workers", 0)  # every fork would load a server of workers anew
    (reported,) = run_kills(kills.moments, "label", tmp_path / "in", *words)
    assert reported["kills"] == kills.NUM_KILLS
    assert len(rows_of(tmp_path / "runs/rows.jsonl")) == 14
    check_same(rows_of(tmp_path / "runs/rows.jsonl"), rows_of(tmp_path / "runs/whole.jsonl"))


@pytest.mark.slow
def test_nano_continues_where_it_was_killed(tmp_path: Path, run_kills: RunKills) -> None:
    (reported,) = run_kills(kills.moments, "label", SAMPLES, "--batch-size", 2)
    assert reported["kills"] == kills.NUM_KILLS
    check_same(rows_of(tmp_path / "runs/rows.jsonl"), rows_of(tmp_path / "runs/whole.jsonl"))
