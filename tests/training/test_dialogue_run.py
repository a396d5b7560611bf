"""Runs of dialogues: the debug recipe from end to end, bit-equal resume, and a model that learns to speak."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model.tiny import tiny_model, tiny_processor

from osum.checkpoints.checkpoint import open_checkpoint
from osum.errors import InputError, RecipeError
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.training import checkpoint
from osum.training.config import DialogueOptions, TrainConfig, read_recipe
from osum.training.start import with_speech
from osum.training.trainer import Trainer, train

from .conftest import same
from .dialogues import write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of the chat layout that speaks six codes."""
    folder = tmp_path_factory.mktemp("talker")
    tiny_model("chatml").save_pretrained(folder)
    tiny_processor("chatml").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rows"))


@pytest.fixture
def config(talker: Path, rows: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        kind="dialogue",
        mixture={"dialogues": {"manifest": str(rows)}},  # type: ignore[dict-item]
        valid=str(rows),
        out=str(tmp_path / "run"),
        model=str(talker),
        dialogue=DialogueOptions(thinking={"off": 1, "tag": 1, "language": 1}, in_turns=0.5, every_reply=True),
        steps=4,
        batch_tokens=2000,
        warmup_steps=1,
        workers=0,
        dtype="float32",
        augment=0.5,
        save_every=2,
        log_every=1,
    )


def logged(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]


def test_a_run_that_was_stopped_continues_to_the_same_bits(config: TrainConfig, tmp_path: Path) -> None:
    whole = Trainer(config).run()
    half = replace(config, out=str(tmp_path / "half"))
    Trainer(replace(half, steps=2)).run()
    assert same(whole, Trainer(half).run())


def test_validation_reports_text_and_speech(config: TrainConfig) -> None:
    Trainer(replace(config, steps=2)).run()
    valid = next(row["valid"] for row in logged(config.out) if "valid" in row)
    assert valid["text"] > 0 and valid["speech"] > 0
    assert min(valid["text"], valid["speech"]) < valid["loss"] < max(valid["text"], valid["speech"])


def test_the_speech_head_alone_can_learn(config: TrainConfig, talker: Path) -> None:
    last = Trainer(replace(config, steps=2, learn="speech")).run()
    before, after = (OsumForConditionalGeneration.from_pretrained(path).state_dict() for path in (talker, last))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"speech_head.weight", "speech_head.bias", "model.speech_embedding.weight"}


def test_a_run_on_few_rows_learns_them(config: TrainConfig) -> None:
    plain = replace(config, steps=30, learning_rate=1e-2, dialogue=DialogueOptions(), augment=0, save_every=30)
    Trainer(plain).run()
    losses = [row["loss"] for row in logged(plain.out) if "loss" in row]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_changed_dialogues_do_not_continue_a_run(config: TrainConfig, tmp_path: Path) -> None:
    Trainer(replace(config, steps=2)).run()
    row = {"id": "a", "turns": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}]}
    (tmp_path / "other.jsonl").write_text(json.dumps(row))
    other = replace(config, mixture={"dialogues": {"manifest": str(tmp_path / "other.jsonl")}})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="holds a run whose train data are"):
        Trainer(other)


@pytest.mark.parametrize("changes", [{"batch_tokens": 0}, {"answered_clips": 3}, {"encoder_copies": 2}])
def test_what_dialogues_do_not_have_is_one_line(config: TrainConfig, changes: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="set answered_clips=0 encoder_copies=0 batch_tokens=3700"):
        Trainer(replace(config, **changes))  # type: ignore[arg-type]


# A model that begins to speak


def test_a_model_that_begins_to_speak_still_writes_the_same() -> None:
    model, processor = tiny_model("speech_first"), tiny_processor("speech_first")
    speaks, changed = with_speech(model, processor, 9)
    clip = [0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0)).numpy()]
    one, other = (made(made.request("hi"), clip, answers=["yes"]) for made in (processor, changed))
    with torch.no_grad():
        before = model(**one).logits
        after = speaks.eval()(**other).logits
    assert changed.num_speech_ids == 10
    assert after.shape[-1] == before.shape[-1] + 10
    torch.testing.assert_close(after[..., : before.shape[-1]], before)


def test_a_model_speaks_as_many_codes_as_it_did() -> None:
    model, processor = tiny_model("chatml"), tiny_processor("chatml")
    assert with_speech(model, processor, 6) == (model, processor)
    assert with_speech(model, processor, 0) == (model, processor)
    with pytest.raises(RecipeError, match="num_codes is 8, the model has 6 codes"):
        with_speech(model, processor, 8)
    with pytest.raises(RecipeError, match="the model has the prompt_first layout"):
        with_speech(tiny_model(), tiny_processor(), 8)


# The recipes


def test_the_debug_recipe_runs_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = read_recipe("recipes/debug_dialogue.yaml", [f"out={tmp_path}", "dtype=float32"])
    last = train(stages)
    assert [checkpoint.steps(tmp_path / name)[-1].name for name in ("understand", "speak", "empathy", "talker")] == [
        "step-2"
    ] * 4
    opened = open_checkpoint(str(last), "cpu", torch.float32)
    assert isinstance(opened.processor, OsumProcessor)
    assert (opened.model.config.speech_output, opened.processor.num_speech_ids) == (True, 65)


@pytest.mark.parametrize("name", ["understand", "speak", "empathy", "talker"])
def test_every_recipe_of_dialogues_can_be_read(name: str) -> None:
    (config,) = read_recipe(ROOT / "recipes" / f"dialogue_{name}.yaml", [])
    assert config.kind == ("osum" if name == "understand" else "dialogue")
