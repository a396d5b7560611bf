"""Several processes make the run of one: the same losses and weights, whole or sharded, stage after stage."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
import yaml

from osum.cli import main
from osum.corpus.manifest import read_manifest, write_manifest
from osum.training.config import TrainConfig
from osum.training.trainer import Trainer, train
from osum.utterance import Utterance
from training.conftest import losses, same, short_run, weights


def together(settings: TrainConfig, out: Path, processes: ForkServerContext | None = None, **changes: object) -> Path:
    """The last checkpoint of a run that two processes share: those of torchrun, or some that have all loaded."""
    recipe, log = out.with_suffix(".yaml"), out.with_suffix(".log")
    recipe.write_text(yaml.safe_dump({**settings.to_dict(), "out": str(out), "freeze": [], "track": [], **changes}))
    code = by_torchrun(recipe, log) if processes is None else as_torchrun_does(processes, recipe, log)
    assert code == 0, [line for line in log.read_text().splitlines() if line.startswith("osum:")]
    assert "gone.wav" in log.read_text()
    return out / f"step-{settings.steps}"


def by_torchrun(recipe: Path, log: Path) -> int:
    command = ["torchrun", "--standalone", "--nproc-per-node=2", "--no-python", "osum", "train", str(recipe)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with log.open("w") as reported:
        return subprocess.run(command, check=False, env=environment, stderr=reported, timeout=300).returncode


def as_torchrun_does(processes: ForkServerContext, recipe: Path, log: Path) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    both = [processes.Process(target=one_of_two, args=(rank, port, recipe, log)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    return max(both[0].exitcode or 0, both[1].exitcode or 0, key=abs)


def one_of_two(rank: int, port: int, recipe: Path, log: Path) -> None:
    with log.open("a") as reported:
        os.dup2(reported.fileno(), 2)
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in group.items()}}
    torch.set_num_threads(1)
    sys.exit(main(["train", str(recipe)]))


@pytest.fixture(scope="module")
def alone(data: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Path]:
    """A run of one process with four batches a step, and its last checkpoint; one batch cannot be read at all."""
    folder = tmp_path_factory.mktemp("processes")
    gone = Utterance("gone", str(folder / "gone.wav"), text="tone", duration=9.0)
    write_manifest(folder / "train.jsonl", [*read_manifest(data / "train.jsonl"), gone])
    mixture = {"all": str(folder / "train.jsonl")}
    settings = short_run(data, tiny, folder / "alone", batches_per_step=4, mixture=mixture, token_weight=0.2)
    return settings, Trainer(settings).run()


@pytest.fixture(scope="module")
def sharded(alone: tuple[TrainConfig, Path], processes: ForkServerContext) -> Path:
    """The same run by two processes, each with half of everything."""
    settings, done = alone
    return together(settings, done.parents[1] / "sharded", processes, shard=True)


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_are_one(
    alone: tuple[TrainConfig, Path], tmp_path: Path, shard: bool, request: pytest.FixtureRequest
) -> None:
    """A step of four batches, taken by one process and shared by two: the same losses, and the same weights.

    Whoever has the batch that cannot be read makes the passes of the others all the same.
    """
    settings, one = alone
    two = request.getfixturevalue("sharded") if shard else together(settings, tmp_path / "two")
    expected, found = losses(one.parent), losses(two.parent)
    assert sorted(expected) == [1, 2, 3, 4]
    for step in expected:
        assert found[step][:4] == pytest.approx(expected[step][:4], rel=1e-5)
    there = weights(two)
    for name, value in weights(one).items():
        assert torch.allclose(there[name], value, atol=1e-5), name


def test_a_usage_error_of_all_processes_is_one_line_once(alone: tuple[TrainConfig, Path], tmp_path: Path) -> None:
    recipe, log = tmp_path / "recipe.yaml", tmp_path / "log"
    recipe.write_text(yaml.safe_dump({**alone[0].to_dict(), "freeze": [], "track": [], "steps": 0}))
    assert by_torchrun(recipe, log) == 1  # torchrun's own code
    reported = [line for line in log.read_text().splitlines() if line.startswith("osum")]
    assert reported == ["osum: error: steps is 0: a whole number from 1 is needed", "osum FAILED"]


def test_a_sharded_run_continues(
    alone: tuple[TrainConfig, Path], sharded: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    shutil.copytree(sharded.parent / "step-2", tmp_path / "other" / "step-2")
    assert same(together(alone[0], tmp_path / "other", processes, shard=True), sharded)


def test_two_processes_make_stages_as_one_does(
    alone: tuple[TrainConfig, Path], tmp_path: Path, processes: ForkServerContext
) -> None:
    """In the first nothing is asked, so that the language model learns in neither process, and must stay as it is."""
    settings, _ = alone
    together(settings, tmp_path / "two", processes, stages={"first": {"questions_per_clip": 0}, "second": {"seed": 3}})
    first = replace(settings, out=str(tmp_path / "one" / "first"), questions_per_clip=0)
    last = train([first, replace(settings, out=str(tmp_path / "one" / "second"), seed=3)])
    expected, found = losses(last.parent), losses(tmp_path / "two" / "second")
    for step in expected:
        assert found[step][:4] == pytest.approx(expected[step][:4], rel=1e-4)
    there = weights(tmp_path / "two" / "first" / "step-4")
    for name, value in weights(tmp_path / "one" / "first" / "step-4").items():
        assert torch.allclose(there[name], value, atol=1e-5), name
