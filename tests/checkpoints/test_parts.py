from pathlib import Path

import pytest
import torch
from model.tiny import noise
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    Qwen2ForCausalLM,
    WhisperModel,
)

from checkpoints.conftest import small_qwen
from osum.checkpoints.convert import from_parts
from osum.errors import ConversionError
from osum.model import OsumConfig, OsumForConditionalGeneration
from recipes.nano.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def model(parts: Path) -> OsumForConditionalGeneration:
    return AutoModelForCausalLM.from_pretrained(parts / "ours").eval()


@torch.no_grad()
def test_the_encoder_gives_what_whispers_gives(parts: Path, model: OsumForConditionalGeneration) -> None:
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    theirs = WhisperModel.from_pretrained(parts / "whisper").eval().encoder(features).last_hidden_state
    ours = model.model.audio_tower(features, torch.tensor([3000]))
    assert (ours - theirs).abs().max() < 1e-5


@torch.no_grad()
def test_text_alone_is_answered_as_by_the_language_model(parts: Path, model: OsumForConditionalGeneration) -> None:
    ids = torch.arange(40)[None]
    theirs = Qwen2ForCausalLM.from_pretrained(parts / "qwen").eval()(ids).logits
    assert (model(input_ids=ids).logits - theirs).abs().max() < 1e-5


def test_the_start_can_be_trained(parts: Path, model: OsumForConditionalGeneration) -> None:
    processor = AutoProcessor.from_pretrained(parts / "ours")
    inputs = processor(text=processor.request("what"), audio=noise(8000), answers=["yes"])
    loss = model(**inputs).loss
    assert processor.answer_end_token_id == model.generation_config.eos_token_id == 258
    assert torch.isfinite(loss)


def test_the_seed_decides_the_adaptor(parts: Path, model: OsumForConditionalGeneration) -> None:
    from_parts(parts / "whisper", parts / "qwen", parts / "again", overwrite=True)
    from_parts(parts / "whisper", parts / "qwen", parts / "other", seed=1, overwrite=True)
    weights = [
        AutoModelForCausalLM.from_pretrained(parts / name).model.adaptor.output_linear.weight
        for name in ("again", "other")
    ]
    assert torch.equal(weights[0], model.model.adaptor.output_linear.weight)
    assert not torch.equal(weights[1], weights[0])


def test_a_part_of_another_kind_is_refused(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="is a qwen2 model: a whisper model is needed here"):
        from_parts(parts / "qwen", parts / "whisper", tmp_path / "ours")


def test_a_folder_that_is_no_model_is_named(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="holds no whisper model"):
        from_parts(tmp_path, parts / "qwen", tmp_path / "ours")


def test_the_new_adaptor_takes_sizes_and_dropout(tmp_path: Path, parts: Path) -> None:
    small = {"num_hidden_layers": 1, "intermediate_size": 24}
    from_parts(parts / "whisper", parts / "qwen", tmp_path / "out", adaptor=small, dropout=0.0)
    config = OsumConfig.from_pretrained(tmp_path / "out")
    sizes = config.adaptor_config.num_hidden_layers, config.adaptor_config.intermediate_size
    assert sizes == (1, 24)
    assert (config.adaptor_config.dropout, config.audio_config.dropout) == (0.0, 0.0)


def test_a_tokenizer_of_another_kind_than_the_language_models_is_kept_as_it_is(parts: Path, tmp_path: Path) -> None:
    """transformers takes `Qwen2Tokenizer` for what is in a Qwen2 folder, which would lose spaces and Chinese here."""
    texts = ["the city of men", "今天天气很好", "<0.12>go<0.50>"]
    train_tokenizer(texts * 9, tmp_path / "tokenizer", vocab_size=380)
    small_qwen(384).save_pretrained(tmp_path / "qwen")
    AutoTokenizer.from_pretrained(tmp_path / "tokenizer").save_pretrained(tmp_path / "qwen")
    from_parts(parts / "whisper", tmp_path / "qwen", tmp_path / "ours")
    given = Tokenizer.from_file(str(tmp_path / "tokenizer" / "tokenizer.json"))
    ours = AutoProcessor.from_pretrained(tmp_path / "ours").tokenizer
    assert [ours.encode(text) for text in texts] == [given.encode(text).ids for text in texts]
    assert [ours.decode(ours.encode(text)) for text in texts] == texts
