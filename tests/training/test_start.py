"""A run begins with a checkpoint's weights and tasks, or with a new model and the data's tokenizer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import osum
from osum.errors import CheckpointError, InputError, RecipeError
from osum.tasks import OSUM
from osum.training.start import start, task_set
from osum.training.trainer import Trainer
from training.conftest import TASKS, MakeConfig


def test_a_checkpoint_in_half_precision_learns_in_float32(config: MakeConfig, tiny: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(tiny, tmp_path / "half"))
    osum.load(half, dtype="bfloat16").engine.model.save_pretrained(half)
    assert {parameter.dtype for parameter in Trainer(config(model=str(half))).model.parameters()} == {torch.float32}


def test_a_model_of_no_such_name_is_reported(config: MakeConfig) -> None:
    with pytest.raises(CheckpointError, match="model 'nanno' is unknown: give nano, a checkpoint folder"):
        Trainer(config(model="nanno"))
    with pytest.raises(InputError, match="no such preset, give one of preset:osum, preset:echat, preset:nano"):
        Trainer(config(model="preset:nanno"))


def test_a_preset_takes_the_tokenizer_of_the_data(config: MakeConfig, data: Path, tiny: Path) -> None:
    shutil.copytree(tiny, data / "tokenizer", dirs_exist_ok=True)
    model, processor = start(config(model="preset:nano"), None)
    assert model.config.text_config.vocab_size == 320 >= len(processor.tokenizer) > 256
    assert model.generation_config.eos_token_id == processor.answer_end_token_id == 258


def test_a_run_continues_with_the_tasks_of_its_model(config: MakeConfig) -> None:
    first = Trainer(config(steps=2, evidence={"SGC": "real"})).run()
    second = Trainer(config(model=str(first), out=str(first.parent / "second"), tasks={}))
    assert set(second.tasks) == set(TASKS) and second.tasks.find("SGC").evidence == "real"


@pytest.mark.parametrize(("name", "hint"), [("breif", "did you mean 'brief'"), ("foo", "the sets are brief, ")])
def test_a_prompt_set_that_is_none_is_refused_whatever_the_run_begins_with(
    config: MakeConfig, tiny: Path, name: str, hint: str
) -> None:
    for source in (tiny, None):
        with pytest.raises(RecipeError, match=f"prompt_set is '{name}': there is none of this name; {hint}"):
            task_set(config(prompt_set=name), source)


def test_temperatures_stay_with_the_weights_they_were_fitted_to(config: MakeConfig, tmp_path: Path) -> None:
    calibrated = OSUM.with_task(replace(OSUM["SGC"], temperature=2.0))
    (tmp_path / "tasks.json").write_text(json.dumps(calibrated.to_dict()), "utf8")
    assert task_set(config(), tmp_path)["SGC"].temperature is None
    assert task_set(config(tasks_file=str(tmp_path / "tasks.json")), None)["SGC"].temperature is None
