"""A run that is killed, at whatever moment and however often, ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killing import die
from safetensors.torch import load_file

from osum.cli import main
from osum.training import checkpoint
from osum.training.config import TrainConfig
from osum.training.trainer import Trainer
from training.conftest import MakeConfig

KEPT = ("loss", "ctc", "label", "norm", "rate", "valid")


def train(recipe: str, out: str = "", fatal: int = 0, exists: str = "") -> None:
    """What `osum train RECIPE` runs; it dies as `die` says."""
    if out:
        die(out, fatal, exists)
    sys.exit(main(["train", recipe]))


def write_recipe(config: TrainConfig, path: Path, **changes: object) -> Path:
    values = {**config.to_dict(), "freeze": [], "track": [], **changes}
    path.write_text(yaml.safe_dump(values), "utf8")
    return path


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf8").splitlines()]


def reported(rows: list[dict[str, Any]]) -> dict[tuple[int, bool], dict[str, Any]]:
    """Step, and whether it is of validation, to the figures that do not depend on the clock."""
    return {(row["step"], "valid" in row): {name: row[name] for name in KEPT if name in row} for row in rows}


def check_same(out: Path, whole: Path, steps: int) -> None:
    """The same weights, optimiser, position and best checkpoint; and each logged step is the uninterrupted run's."""
    for name in (f"step-{steps}", checkpoint.BEST):
        for file in ("model.safetensors", checkpoint.STATE):
            one, other = load_file(out / name / file), load_file(whole / name / file)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one), (name, file)
        progress = [json.loads((path / name / checkpoint.PROGRESS).read_text()) for path in (out, whole)]
        assert progress[0]["config"].pop("out") != progress[1]["config"].pop("out")
        assert progress[0] == progress[1]
    expected = reported(logged(whole))
    assert reported(logged(out)) == expected
    for row in logged(out):  # steps that were made twice, too
        assert reported([row]).items() <= expected.items()


def check_whole(out: Path) -> None:
    """Whatever bears the name of a checkpoint is one."""
    for path in (*checkpoint.steps(out), *out.glob(checkpoint.BEST)):
        assert checkpoint.load(path)[1]["step"] > 0
        assert load_file(path / "model.safetensors") and (path / "tasks.json").is_file()


def after(process: BaseProcess, out: Path, rows: int) -> None:
    """Kill from outside, once so many more rows are logged."""
    path = out / "log.jsonl"
    seen = path.read_bytes().count(b"\n") if path.exists() else 0
    while process.exitcode is None and not (path.exists() and path.read_bytes().count(b"\n") >= seen + rows):
        time.sleep(0.001)
    process.kill()


def test_a_run_killed_again_and_again_is_the_uninterrupted_one(
    config: MakeConfig, tmp_path: Path, processes: ForkServerContext
) -> None:
    """At file operations drawn from all of a save, and in between by whoever waits for a row of the log."""
    settings = config(steps=20, save_every=3, learning_rate=3e-3, out=str(tmp_path / "whole"))
    whole = Trainer(settings).run().parent
    out, draw = tmp_path / "killed", random.Random(0)
    recipe = str(write_recipe(settings, tmp_path / "recipe.yaml", out=str(out)))
    codes = []
    for number in range(100):
        outside = number % 3 == 2
        process = processes.Process(target=train, args=(recipe, str(out), 0 if outside else draw.randint(1, 200)))
        process.start()
        if outside:
            after(process, out, draw.randint(1, 5))
        process.join()
        codes.append(process.exitcode)
        check_whole(out)
        if process.exitcode == 0:
            break
    assert codes.pop() == 0 and set(codes) == {-signal.SIGKILL} and len(codes) >= 3
    check_same(out, whole, settings.steps)


def test_ten_steps_a_kill_and_ten_more_are_twenty(
    config: MakeConfig, tmp_path: Path, processes: ForkServerContext
) -> None:
    settings = config(steps=20, save_every=10, out=str(tmp_path / "whole"))
    whole = Trainer(settings).run().parent
    out = tmp_path / "killed"
    recipe = str(write_recipe(settings, tmp_path / "recipe.yaml", out=str(out)))
    for exists, code in (("step-10", -signal.SIGKILL), ("never", 0)):
        process = processes.Process(target=train, args=(recipe, str(out), 0, exists))
        process.start()
        process.join()
        assert process.exitcode == code
        assert checkpoint.steps(out)[-1].name == ("step-10" if code else "step-20")
    check_same(out, whole, settings.steps)


def runs(recipe: Path, out: Path, until: str = "") -> None:
    """`osum train` as a user starts it, killed when the folder `until` is there."""
    command = [str(Path(sys.executable).with_name("osum")), "train", str(recipe)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while until and process.poll() is None and not (out / until).exists():
            time.sleep(0.005)
        if until:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == (-signal.SIGKILL if until else 0)


@pytest.mark.slow
def test_a_hundred_steps_a_kill_and_a_hundred_more_are_two_hundred(config: MakeConfig, tmp_path: Path) -> None:
    settings = config(steps=200, save_every=100, workers=1, batches_per_step=2, learn="adaptor+encoder+lora")
    recipes = {name: write_recipe(settings, tmp_path / f"{name}.yaml", out=str(tmp_path / name)) for name in "ab"}
    runs(recipes["a"], tmp_path / "a")
    runs(recipes["b"], tmp_path / "b", until="step-100")
    assert [path.name for path in checkpoint.steps(tmp_path / "b")] == ["step-100"]
    runs(recipes["b"], tmp_path / "b")
    check_same(tmp_path / "b", tmp_path / "a", 200)


# Every moment of a save


def save_two(out: str, fatal: int) -> None:
    """Save two checkpoints, each the best so far, and die on the way."""
    die(out, fatal)
    for step in (1, 2):
        write_step(Path(out), step)


def write_step(out: Path, step: int) -> None:
    def write_model(folder: Path) -> None:
        (folder / "model").write_text(str(step))

    state: Mapping[str, torch.Tensor] = {"x": torch.full((3,), float(step))}
    checkpoint.save_best(out, checkpoint.save(out, step, write_model, state, {}, keep=1))


def check_steps(out: Path) -> list[int]:
    """The numbers of what bears the name of a checkpoint, each of which must be one."""
    found = []
    for path in (*checkpoint.steps(out), *out.glob(checkpoint.BEST)):
        state, progress = checkpoint.load(path)
        assert (path / "model").read_text() == str(progress["step"]) == f"{state['x'][0]:g}"
        found.append(progress["step"])
    return found


def test_a_kill_at_any_file_operation_of_a_save_leaves_whole_checkpoints_alone(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    """And what it leaves behind is cleared by the next save."""
    last = 0
    for fatal in range(1, 1000):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        process = processes.Process(target=save_two, args=(str(tmp_path / "run"), fatal))
        process.start()
        process.join()
        found = check_steps(tmp_path / "run")
        assert max(found, default=0) >= last
        last = max(found, default=0)
        if process.exitcode == 0:
            break
        for step in range(last + 1, 4):
            write_step(tmp_path / "run", step)
        assert set(check_steps(tmp_path / "run")) == {3}
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"step-3", checkpoint.BEST}
    assert fatal > 50 and last == 2
