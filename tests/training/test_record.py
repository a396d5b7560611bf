"""A checkpoint tells how it was made."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import osum
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import CheckpointError, InputError
from osum.training import record
from osum.training.export import export
from osum.training.trainer import Trainer, train
from training.conftest import MakeConfig, same


def test_an_exported_checkpoint_tells_of_every_run_behind_it(config: MakeConfig, tmp_path: Path) -> None:
    plan = [config(out=str(tmp_path / "one"), steps=2), config(out=str(tmp_path / "two"), steps=4, seed=3)]
    export(train(plan), tmp_path / "out", torch.float32)
    runs = json.loads((tmp_path / "out" / "training.json").read_text("utf8"))
    assert [(run["step"], run["config"]["seed"]) for run in runs] == [(2, 1), (4, 3)]
    assert runs[0]["data"] == runs[1]["data"] and runs[0]["data"]["train"]["clips"] == 8
    assert all(run["osum"] == osum.__version__ and run["commit"] == record.commit() for run in runs)
    # The next run, begun with what was exported, tells of all three; one that was stopped tells of itself once.
    after = config(model=str(tmp_path / "out"), out=str(tmp_path / "three"), steps=1)
    Trainer(after).run()
    found = record.runs_behind(Trainer(replace(after, steps=2)).run())
    assert found[:2] == runs and [run["step"] for run in found] == [2, 4, 2]


def test_data_may_lie_elsewhere_but_not_change(config: MakeConfig, data: Path, tmp_path: Path) -> None:
    straight = Trainer(config(steps=2, save_every=1, out=str(tmp_path / "straight"))).run()
    Trainer(config(steps=1)).run()
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    for split in ("train", "valid"):
        rows = [row.with_(path=str(moved / "audio.i16")) for row in read_manifest(data / f"{split}.jsonl")]
        write_manifest(moved / f"{split}.jsonl", rows)
    assert same(Trainer(config(steps=2, data=str(moved))).run(), straight)
    rows = [*read_manifest(moved / "train.jsonl")]
    write_manifest(moved / "train.jsonl", [rows[0].with_(text="other"), *rows[1:]])
    with pytest.raises(InputError, match=r"train data are 8 rows, hash .*, now they are 8 .*: go on with the same"):
        Trainer(config(steps=3, data=str(moved)))


def test_the_commit_is_that_of_the_checkout_and_of_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    git("init")
    ours = tmp_path / "record.py"
    ours.write_text("one")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(record, "__file__", str(ours))
    assert re.fullmatch(r"[0-9a-f]{40}", record.commit() or "")
    ours.write_text("two")
    assert (record.commit() or "").endswith("-dirty")
    installed = tmp_path / "site-packages" / "record.py"
    installed.parent.mkdir()
    installed.write_text("one")
    monkeypatch.setattr(record, "__file__", str(installed))
    assert record.commit() is None


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert record.runs_behind(tmp_path) == []
    (tmp_path / "training.json").write_text("{", "utf8")
    with pytest.raises(CheckpointError, match=r"tells of its training cannot be read .*: remove it$"):
        record.runs_behind(tmp_path)
