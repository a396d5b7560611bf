"""Stages: each begins with the last checkpoint of the one before, has its own settings, and continues when moved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import InputError, RecipeError
from osum.training.config import TrainConfig
from osum.training.learn import with_lora
from osum.training.trainer import Trainer, train
from training.conftest import MakeConfig, same

ADAPTER = Path("adapter")


def adapter(path: Path) -> dict[str, Any]:
    options: dict[str, Any] = json.loads((path / ADAPTER / "adapter_config.json").read_text("utf8"))
    return options


def recorded(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "progress.json").read_text("utf8"))["config"]
    return config


@pytest.fixture
def plan(config: MakeConfig, tmp_path: Path) -> list[TrainConfig]:
    """Two stages that learn by LoRA of rank 4."""
    lora = {"learn": "adaptor+lora", "lora_rank": 4, "lora_alpha": 8, "learning_rate": 3e-2, "steps": 2}
    return [config(out=str(tmp_path / "all" / name), **lora) for name in ("one", "two")]


def losses_of(trainer: Trainer) -> dict[str, float]:
    return {name: trainer.validate()[name] for name in ("loss", "ctc")}


def test_a_later_stage_has_the_lora_dropout_that_it_names(plan: list[TrainConfig]) -> None:
    last = train([plan[0], replace(plan[1], lora_dropout=0.4)])
    assert adapter(last)["lora_dropout"] == 0.4 == recorded(last)["lora_dropout"]
    assert adapter(last)["r"] == 4


@pytest.mark.parametrize("changes", [{"lora_rank": 2}, {"lora_alpha": 16}, {"learn": "adaptor"}])
def test_a_stage_of_another_lora_keeps_what_was_learned_and_begins_its_own(
    plan: list[TrainConfig], changes: dict[str, Any]
) -> None:
    first = Trainer(plan[0])
    last = first.run()
    second = Trainer(replace(plan[1], model=str(last), **changes), last)
    assert losses_of(second) == pytest.approx(losses_of(first), rel=1e-5)  # a new LoRA changes nothing yet
    path = second.run()
    assert (path / ADAPTER).exists() == ("learn" not in changes)
    if "learn" not in changes:
        options = adapter(path)
        assert {"lora_rank": options["r"], "lora_alpha": options["lora_alpha"]} == {
            name: recorded(path)[name] for name in ("lora_rank", "lora_alpha")
        }
        assert {"lora_rank": 4, "lora_alpha": 8, **changes}["lora_rank"] == options["r"]


def test_nothing_is_merged_into_four_bits(plan: list[TrainConfig], tmp_path: Path) -> None:
    last = Trainer(plan[0]).run()
    settings = replace(plan[1], quantize="nf4", lora_rank=2)
    with pytest.raises(RecipeError, match="has lora_rank=4 lora_alpha=8: nothing is merged into 4 bits"):
        with_lora(Trainer(replace(plan[0], learn="adaptor", out=str(tmp_path / "x"))).model, settings, last)


def test_a_staged_run_that_was_moved_continues(plan: list[TrainConfig], tmp_path: Path) -> None:
    straight = train([plan[0], replace(plan[1], steps=3)])
    moved = Path(shutil.copytree(tmp_path / "all", tmp_path / "moved"))
    shutil.rmtree(tmp_path / "all")
    shutil.rmtree(moved / "two" / "step-3")
    again = [replace(stage, out=str(moved / name)) for stage, name in zip(plan, ("one", "two"), strict=True)]
    assert same(train([again[0], replace(again[1], steps=3)]), moved / "two" / "step-3")
    one, other = (load_file(path / ADAPTER / "adapter_model.safetensors") for path in (moved / "two" / "step-3",) * 2)
    assert straight.name == "step-3" and all(torch.equal(one[name], other[name]) for name in one)


def test_a_first_stage_with_more_steps_says_why_the_second_cannot_continue(plan: list[TrainConfig]) -> None:
    train(plan)
    reported = r"two began with step 2 of one, which now ends with step 3: remove .*two to train this stage again"
    with pytest.raises(InputError, match=reported):
        train([replace(plan[0], steps=3), replace(plan[1], steps=4)])


def test_a_first_stage_of_another_recipe_says_why_the_second_cannot_continue(plan: list[TrainConfig]) -> None:
    train(plan)
    shutil.rmtree(plan[0].out)
    with pytest.raises(InputError, match=r"two began with a run with seed=1, one now has 7: remove .*two"):
        train([replace(plan[0], seed=7), replace(plan[1], steps=4)])


def test_the_tasks_of_a_row_are_part_of_the_data(config: MakeConfig, data: Path, tmp_path: Path) -> None:
    rows = list(read_manifest(data / "train.jsonl"))
    write_manifest(tmp_path / "rows.jsonl", rows)
    settings = {"mixture": {"rows": str(tmp_path / "rows.jsonl")}, "steps": 1}
    last = Trainer(config(**settings)).run()
    write_manifest(tmp_path / "rows.jsonl", [rows[0].with_(tasks=("SGC",)), *rows[1:]])
    with pytest.raises(InputError, match=r"holds a run whose train rows have other `tasks`: continue with"):
        Trainer(config(**settings))
    progress = json.loads((last / "progress.json").read_text("utf8"))
    for reported in progress["data"].values():  # a run of an osum that did not record them continues
        del reported["tasks_sha256"]
    (last / "progress.json").write_text(json.dumps(progress), "utf8")
    assert Trainer(config(**settings)).step == 1


def test_a_mixture_may_be_elsewhere_and_was_once_recorded_as_it_was_written(
    config: MakeConfig, data: Path, tmp_path: Path
) -> None:
    last = Trainer(config(mixture={"all": str(data / "train.jsonl")}, steps=1)).run()
    progress = json.loads((last / "progress.json").read_text("utf8"))
    progress["config"]["mixture"] = {"all": "elsewhere/train.jsonl"}
    (last / "progress.json").write_text(json.dumps(progress), "utf8")
    assert Trainer(config(mixture={"all": {"manifest": str(data / "train.jsonl")}}, steps=1)).step == 1
    with pytest.raises(InputError, match=r"holds a run with mixture=\{'all': \[1.0, \[\]\]\}, the recipe says .*2.0"):
        Trainer(config(mixture={"all": {"manifest": str(data / "train.jsonl"), "weight": 2}}, steps=1))
