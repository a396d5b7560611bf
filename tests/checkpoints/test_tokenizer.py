from pathlib import Path

import pytest
from model.tiny import byte_tokenizer
from transformers import AutoProcessor

from osum.checkpoints.convert import add_tokenizer, convert
from osum.errors import ConversionError

from .originals import HEADS, random_original, write_original


@pytest.mark.parametrize(("release", "layout"), [("osum", "prompt_first"), ("echat", "chatml")])
def test_a_given_tokenizer_makes_the_releases_processor(tmp_path: Path, release: str, layout: str) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "qwen")
    source = write_original(tmp_path, random_original(release))
    report = convert(source, tmp_path / "ours", tokenizer=tmp_path / "qwen", **HEADS)
    processor = AutoProcessor.from_pretrained(tmp_path / "ours")
    assert (processor.layout, processor.answer_end_token_id, report.notes) == (layout, 258, ())
    assert ("You are OSUM-chat" in processor.request("hi")) == (release == "echat")


def test_a_tokenizer_next_to_the_file_is_taken(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("osum"))
    byte_tokenizer().save_pretrained(tmp_path)
    assert convert(source, tmp_path / "ours", **HEADS).notes == ()


def test_a_tokenizer_can_be_added_later(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("echat")), tmp_path / "ours", **HEADS)
    byte_tokenizer().save_pretrained(tmp_path / "qwen")
    add_tokenizer(tmp_path / "ours", tmp_path / "qwen")
    assert AutoProcessor.from_pretrained(tmp_path / "ours").system_prompt.startswith("You are OSUM-chat")


def test_a_tokenizer_with_more_ids_than_rows_is_refused(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum")), tmp_path / "ours", **HEADS)
    byte_tokenizer(words={"&&": 7672}).save_pretrained(tmp_path / "qwen")
    with pytest.raises(ConversionError, match="ids up to 7672, the model 264 rows"):
        add_tokenizer(tmp_path / "ours", tmp_path / "qwen")


def test_a_folder_without_tokenizer_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = write_original(tmp_path, random_original("osum"))
    with pytest.raises(ConversionError, match="empty holds no tokenizer"):
        convert(source, tmp_path / "ours", tokenizer=tmp_path / "empty", **HEADS)
    assert not (tmp_path / "ours").exists()
