import json
from pathlib import Path

import pytest
import torch

from osum.checkpoints.convert.shards import plan_shards, read_shards, write_shards
from osum.errors import CheckpointError


def test_shards_stay_under_the_limit_and_keep_the_order() -> None:
    assert plan_shards({"a": 4, "b": 4, "c": 4, "d": 1}, limit=8) == [["a", "b"], ["c", "d"]]


def test_a_tensor_larger_than_the_limit_has_a_shard_of_its_own() -> None:
    assert plan_shards({"a": 1, "b": 99, "c": 1}, limit=8) == [["a"], ["b"], ["c"]]


def test_tensors_come_back_from_several_files(tmp_path: Path) -> None:
    tensors = {name: torch.full((3,), float(number)) for number, name in enumerate("abc")}
    assert write_shards(tmp_path, dict.fromkeys(tensors, 12), tensors.__getitem__, limit=24) == 2
    assert json.loads((tmp_path / "model.safetensors.index.json").read_text())["metadata"]["total_size"] == 36
    read = read_shards(tmp_path)
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds neither model\.safetensors nor"):
        read_shards(tmp_path)
