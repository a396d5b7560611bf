"""One command from a kit to a trained model: the order of its steps, and what it refuses before the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import Qwen2Config, WhisperConfig

from osum.errors import InputError
from recipes.nano import make, speak
from recipes.nano.make import STEPS, Making


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """All that is needed, with a Whisper of the right size."""
    for name in ("real", "smoke", "text"):
        (tmp_path / "kit" / name).mkdir(parents=True)
    WhisperConfig(d_model=make.WIDTH, encoder_layers=make.LAYERS).save_pretrained(tmp_path / "whisper")
    return Making(tmp_path / "kit", tmp_path / "out", whisper=str(tmp_path / "whisper"))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were made; none of them does anything here."""
    found: list[str] = []
    for step in STEPS:
        monkeypatch.setitem(make._MAKERS, step, lambda _, step=step: found.append(step))
    return found


def test_the_steps_are_made_in_order_up_to_the_last_that_is_wanted(making: Making, done: list[str]) -> None:
    make.make(making, "words")
    assert done == ["speech", "read", "data", "words"]


def refused(making: Making, done: list[str], **changes: object) -> str:
    with pytest.raises(InputError) as caught:
        make.make(replace(making, **changes))  # type: ignore[arg-type]
    assert not done and not making.out.exists()
    (line,) = str(caught.value).splitlines()
    return line


def test_weights_that_are_missing_are_reported_with_where_they_are_from(
    making: Making, done: list[str], tmp_path: Path
) -> None:
    line = refused(making, done, whisper=str(tmp_path / "none"))
    assert "holds no whisper model" in line and "nano is made from openai/whisper-base" in line
    assert "take it from the release page of kokoro-onnx" in refused(making, done, kokoro=tmp_path)


def test_another_model_is_reported(making: Making, done: list[str], tmp_path: Path) -> None:
    Qwen2Config().save_pretrained(tmp_path / "qwen")
    assert "is a qwen2 model: a whisper model is needed" in refused(making, done, whisper=str(tmp_path / "qwen"))


def test_a_whisper_of_another_size_is_reported(making: Making, done: list[str], tmp_path: Path) -> None:
    WhisperConfig(d_model=384, encoder_layers=4).save_pretrained(tmp_path / "tiny")
    line = refused(making, done, whisper=str(tmp_path / "tiny"))
    assert "has an encoder of width 384 and 4 layers: nano is made from openai/whisper-base, of width 512" in line


def test_a_kit_without_a_folder_is_reported(making: Making, done: list[str]) -> None:
    (making.kit / "text").rmdir()
    assert "has no folder text: make it with python -m recipes.nano.kit" in refused(making, done)


def test_an_unknown_key_of_the_recipe_is_reported_first(making: Making, done: list[str]) -> None:
    assert "is no training option" in refused(making, done, overrides=("stepss=3",))


def test_a_cache_without_speech_is_no_source(making: Making) -> None:
    assert make._cache(making) is None
    (making.out / "kokoro").mkdir(parents=True)
    (making.out / "kokoro" / speak.INDEX).touch()
    assert make._cache(making) == making.out / "kokoro"


def test_a_start_that_is_there_is_left_alone(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "from_parts", lambda *_, **__: pytest.fail("made again"))
    (making.out / "start").mkdir(parents=True)
    (making.out / "start" / "config.json").write_text("{}")
    make._MAKERS["start"](making)


def test_training_refuses_data_that_are_half_built(making: Making) -> None:
    with pytest.raises(InputError, match=r"is half built, train\.jsonl is missing"):
        make._MAKERS["train"](making)
