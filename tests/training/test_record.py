"""A checkpoint records how it was made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import osum
from osum.checkpoints.export import export
from osum.checkpoints.provenance import commit, runs_behind
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import InputError
from osum.training.trainer import Trainer, train
from training.conftest import MakeConfig, same


def test_an_exported_checkpoint_names_every_run_behind_it(config: MakeConfig, tmp_path: Path) -> None:
    plan = [config(out=str(tmp_path / "one"), steps=2), config(out=str(tmp_path / "two"), steps=4, seed=3)]
    export(train(plan), tmp_path / "out", torch.float32)
    runs = json.loads((tmp_path / "out" / "training.json").read_text("utf8"))
    assert [(run["step"], run["config"]["seed"]) for run in runs] == [(2, 1), (4, 3)]
    assert runs[0]["data"] == runs[1]["data"] and runs[0]["data"]["train"]["clips"] == 8
    assert all(run["osum"] == osum.__version__ and run["commit"] == commit() for run in runs)
    # The next run, begun with what was exported, records all three; one that was stopped records itself once.
    after = config(model=str(tmp_path / "out"), out=str(tmp_path / "three"), steps=1)
    Trainer(after).run()
    found = runs_behind(Trainer(replace(after, steps=2)).run())
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
    with pytest.raises(InputError, match=r"train data are 8 rows, hash .*, now they are 8 .*: continue with the same"):
        Trainer(config(steps=3, data=str(moved)))
