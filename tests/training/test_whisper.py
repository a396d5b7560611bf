"""A Whisper learns the tasks: as transformers would train it, at true lengths, and its encoder starts an OSUM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from model.tiny import VOCAB_SIZE, byte_letters, byte_tokenizer, noise
from safetensors.torch import load_file
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from osum.checkpoints.folder import STATE
from osum.checkpoints.locate import read_tasks
from osum.cli import main
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import CheckpointError, ConversionError, InputError
from osum.model import OsumForConditionalGeneration
from osum.model.whisper_tasks import WhisperTaskProcessor
from osum.tasks import OSUM
from osum.training.batch import LABEL_UNKNOWN
from osum.training.trainer import Trainer
from training.conftest import MakeConfig

WHISPERS_TAGS = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>")


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper of two layers with dropout; one id per byte, then the tags."""
    folder = tmp_path_factory.mktemp("whisper")
    tokenizer = WhisperTokenizer(vocab={letter: byte for byte, letter in byte_letters().items()}, merges=[])
    tokenizer.add_tokens(list(WHISPERS_TAGS), special_tokens=True)
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    sizes |= {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": len(tokenizer)}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    start = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    torch.manual_seed(0)
    config = WhisperConfig(**sizes, **ids, decoder_start_token_id=start, dropout=0.1, init_std=0.3)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def whisper_config(config: MakeConfig, tiny_whisper: Path) -> MakeConfig:
    """A run of four steps on the tiny Whisper, with some fields changed."""

    def make(**changes: Any) -> Any:
        fields = {"kind": "whisper", "model": str(tiny_whisper), "questions_per_clip": 1, "ctc_weight": 0.3}
        return config(**{**fields, **changes})

    return make


@pytest.fixture
def processor(whisper_config: MakeConfig) -> Any:
    return Trainer(whisper_config(tasks={})).processor


def losses(out: Path) -> dict[int, list[float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {row["step"]: [row["loss"], row["ctc"], row["norm"]] for row in rows if "loss" in row}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors") | load_file(path / STATE)


def transformers_loss(folder: Path, batch: dict[str, Any]) -> torch.Tensor:
    """What a stock Whisper makes of the labels of a batch."""
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    ids, labels = batch["input_ids"], batch["labels"]
    return model(batch["input_features"], decoder_input_ids=ids[:, :-1], labels=labels[:, 1:]).loss


def auxiliary(trainer: Trainer, clips: int) -> dict[str, torch.Tensor]:
    """Targets of the losses next to the answers'."""
    sets = len(trainer.tasks.label_sets)
    return {"ctc_targets": torch.full((clips, 1), 1), "label_targets": torch.full((clips, sets), LABEL_UNKNOWN)}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_on_thirty_seconds_the_loss_is_that_of_transformers(whisper_config: MakeConfig, attention: str) -> None:
    trainer = Trainer(whisper_config(attention=attention, steps=1))
    text = trainer.processor.tags(OSUM["SGC"], "en")
    clip = trainer.processor.log_mel(noise(480_000))
    batch = trainer.processor.batch([text], [clip], ["good morning<female>"]) | auxiliary(trainer, 1)
    trainer.model.eval()
    trainer.write_model(trainer.out, trainer.model.state_dict())
    assert trainer.losses(batch)[0].item() == pytest.approx(transformers_loss(trainer.out, batch).item(), rel=1e-5)


@torch.no_grad()
def test_on_thirty_seconds_the_encoder_is_that_of_transformers(whisper_config: MakeConfig, tiny_whisper: Path) -> None:
    features = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(1))
    theirs = WhisperForConditionalGeneration.from_pretrained(tiny_whisper).eval().model.encoder(features)
    tower = Trainer(whisper_config()).objective.tower.eval()
    assert (tower(features, torch.tensor([3000, 3000])) - theirs.last_hidden_state).abs().max() < 1e-5


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_an_answer_costs_the_same_alone_and_in_any_batch(whisper_config: MakeConfig, attention: str) -> None:
    trainer = Trainer(whisper_config(attention=attention))
    trainer.model.eval()
    clips = [trainer.processor.log_mel(noise(samples, samples)) for samples in (5_000, 16_000)]
    texts = [trainer.processor.tags(OSUM[name], "en") for name in ("ASR", "SGC", "VED")]
    answers, clip_of = ["a", "good morning<male>", "<none>"], [0, 1, 0]

    def loss(rows: list[int]) -> float:
        clips_asked = sorted({clip_of[row] for row in rows})
        batch = trainer.processor.batch(
            [texts[row] for row in rows],
            [clips[clip] for clip in clips_asked],
            [answers[row] for row in rows],
            audio_index=[clips_asked.index(clip_of[row]) for row in rows],
        )
        return trainer.losses(batch | auxiliary(trainer, len(clips_asked)))[0].item()

    assert loss([0, 1, 2]) == pytest.approx(loss([0]) + loss([1]) + loss([2]), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "language", "tags"),
    [
        ("ASR", "zh", "<|startoftranscript|><|zh|><|transcribe|><|notimestamps|>"),
        ("SER", "en", "<|startoftranscript|><|en|><|SER|><|notimestamps|>"),
        ("SAP+SGC-only", "en", "<|startoftranscript|><|en|><|SAP+SGC-only|><|notimestamps|>"),
        ("SRWT", "en", "<|startoftranscript|><|en|><|SRWT|>"),
        ("LID", "en", "<|startoftranscript|><|LID|><|notimestamps|>"),
        ("VED", None, "<|startoftranscript|><|VED|><|notimestamps|>"),
        ("VED", "transcribe", "<|startoftranscript|><|VED|><|notimestamps|>"),
        ("SER", "tlh", "<|startoftranscript|><|SER|><|notimestamps|>"),
    ],
)
def test_a_task_is_asked_by_tags(processor: WhisperTaskProcessor, task: str, language: str | None, tags: str) -> None:
    assert processor.tags(OSUM[task], language) == tags
    assert len(processor.text_ids(tags)) == tags.count("<|")


def test_a_row_is_tags_transcript_label_and_end(processor: WhisperTaskProcessor) -> None:
    text = processor.tags(OSUM["SGC"], "en")
    batch = processor.batch([text], [processor.log_mel(noise(4_000))], ["hi<male>"])
    assert processor.tokenizer.decode(batch["input_ids"][0]) == text + "hi<male><|endoftext|>"
    assert batch["labels"][0].tolist() == [-100] * 4 + batch["input_ids"][0, 4:].tolist()


def test_rows_are_padded_to_a_multiple_and_never_past_the_decoder(processor: WhisperTaskProcessor) -> None:
    text, mel = processor.tags(OSUM["SGC"], "en"), processor.log_mel(noise(4_000))  # 25 frames
    real = processor.batch([text], [mel], ["hi<male>"])["input_ids"].shape[1]
    for processor.max_tokens, length in ((448, 32), (real + 1, real + 1)):
        batch = processor.batch([text], [mel], ["hi<male>"], multiples=(20, 32))
        assert all(batch[name].shape[1] == length for name in ("input_ids", "attention_mask", "labels"))
        assert batch["attention_mask"].sum() == real and (batch["labels"][0, real:] == -100).all()
        assert batch["input_features"].shape[2] == 40


def test_new_tags_begin_as_transcribe_and_leave_the_rest_alone(whisper_config: MakeConfig, tiny_whisper: Path) -> None:
    trainer = Trainer(whisper_config())
    table, vocabulary = trainer.model.get_input_embeddings().weight, trainer.processor.tokenizer.get_vocab()
    old = load_file(tiny_whisper / "model.safetensors")["model.decoder.embed_tokens.weight"]
    assert torch.equal(table[: len(old)], old) and len(table) == len(old) + 3
    for tag in ("<|SRWT|>", "<|SGC|>", "<|VED|>"):
        assert torch.equal(table[vocabulary[tag]], old[vocabulary["<|transcribe|>"]])


def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(whisper_config: MakeConfig, tmp_path: Path) -> None:
    done = Trainer(whisper_config(batches_per_step=2)).run()
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    resumed = Trainer(whisper_config(out=str(tmp_path / "other"), batches_per_step=2)).run()
    whole = losses(done.parent)
    assert losses(resumed.parent) == {step: whole[step] for step in (3, 4)}
    one, other = weights(resumed), weights(done)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_learning_lowers_the_loss(whisper_config: MakeConfig) -> None:
    trainer = Trainer(whisper_config(learning_rate=3e-3, steps=100))
    batch = next(iter(trainer.valid_loader))
    first = trainer.train_step([batch])
    for _ in range(8):
        last = trainer.train_step([batch])
    assert last["loss"] < first["loss"] and last["ctc"] < first["ctc"]


def test_checkpointed_activations_change_nothing(whisper_config: MakeConfig) -> None:
    plain, saved = (Trainer(whisper_config(activation_checkpointing=value)) for value in (False, True))
    batch = next(iter(plain.valid_loader))
    one, other = (trainer.train_step([batch]) for trainer in (plain, saved))
    assert [one["loss"], one["norm"]] == pytest.approx([other["loss"], other["norm"]], rel=1e-5)


def test_the_checkpoint_is_a_stock_whisper_with_the_tasks(whisper_config: MakeConfig) -> None:
    trainer = Trainer(whisper_config(steps=2))
    folder = trainer.run()
    model, info = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()) and model.config.architectures == ["WhisperForConditionalGeneration"]
    stock = WhisperProcessor.from_pretrained(folder)
    assert stock.tokenizer.get_vocab() == trainer.processor.tokenizer.get_vocab()
    assert list(read_tasks(folder)) == ["ASR", "SRWT", "VED", "SGC"]
    features = stock(noise(16_000), sampling_rate=16_000, return_tensors="pt").input_features
    assert model.generate(features, max_new_tokens=3).shape[0] == 1


def test_the_encoder_starts_an_osum_bit_by_bit(whisper_config: MakeConfig, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    text = Qwen2Config(vocab_size=VOCAB_SIZE, **sizes, intermediate_size=48, bos_token_id=256, eos_token_id=258)
    Qwen2ForCausalLM(text).save_pretrained(tmp_path / "qwen")
    byte_tokenizer().save_pretrained(tmp_path / "qwen")
    trainer = Trainer(whisper_config(steps=2))
    folder = trainer.run()
    parts = ["--whisper", str(folder), "--llm", str(tmp_path / "qwen"), "--dtype", "float32"]
    assert main(["convert", *parts, str(tmp_path / "start")]) == 0
    tower = OsumForConditionalGeneration.from_pretrained(tmp_path / "start").model.audio_tower.state_dict()
    trained = trainer.objective.tower.state_dict()
    assert tower.keys() == trained.keys() and all(torch.equal(tower[name], trained[name]) for name in tower)


def test_a_second_run_continues_with_tags_and_tasks(whisper_config: MakeConfig, tmp_path: Path) -> None:
    first = Trainer(whisper_config(steps=2))
    folder = first.run()
    second = Trainer(whisper_config(model=str(folder), out=str(tmp_path / "second"), tasks={}))
    assert list(second.tasks) == ["ASR", "SRWT", "VED", "SGC"]
    table = second.model.get_input_embeddings().weight
    assert torch.equal(table, first.model.get_input_embeddings().weight)


def test_the_encoder_learns_alone_where_the_recipe_asks(whisper_config: MakeConfig, tiny_whisper: Path) -> None:
    folder = Trainer(whisper_config(steps=2, learn="encoder")).run()
    before, after = (load_file(path / "model.safetensors") for path in (tiny_whisper, folder))
    moved = {name for name in before if before[name].shape == after[name].shape}
    moved = {name for name in moved if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith("model.encoder.") for name in moved)


def test_an_answer_too_long_for_the_decoder_is_left_out_and_reported(
    whisper_config: MakeConfig, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = list(read_manifest(data / "train.jsonl"))
    write_manifest(tmp_path / "train.jsonl", [*rows, rows[0].with_(id="long", text="tone " * 90, labels={}, words=())])
    Trainer(whisper_config(data=str(tmp_path), steps=2, batch_seconds=60.0)).run()
    assert "no answer of 'long' fits into the 448 tokens of the decoder" in caplog.text


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"kind": "whsiper"}, "kind is 'whsiper': give dialogue, osum, voice or whisper"),
        ({"model": "preset:nano"}, "kind whisper begins with a Whisper; give model=openai/whisper-medium"),
        ({"learn": "adaptor+lora"}, "a Whisper learns without lora"),
        ({"quantize": "nf4"}, "a Whisper learns without lora or 4 bits"),
        ({"answered_clips": 3}, "is validated by its loss; set learn=full quantize='' answered_clips=0"),
        ({"learn": "adaptor"}, "nothing is left to learn"),
    ],
)
def test_what_a_whisper_cannot_do_is_reported(
    whisper_config: MakeConfig, changes: dict[str, Any], reported: str
) -> None:
    with pytest.raises(InputError, match=reported):
        Trainer(whisper_config(**changes))


def test_a_model_that_is_no_whisper_is_reported(whisper_config: MakeConfig, tiny: Path) -> None:
    with pytest.raises(ConversionError, match="is a osum model: a whisper model is needed here"):
        Trainer(whisper_config(model=str(tiny)))


def test_a_whisper_cut_in_half_is_reported(whisper_config: MakeConfig, tiny_whisper: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_whisper, tmp_path / "half"))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="half cannot be loaded"):
        Trainer(whisper_config(model=str(folder)))


def test_a_whisper_that_knows_english_alone_is_reported(
    whisper_config: MakeConfig, tiny_whisper: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_whisper, tmp_path / "english"))
    tokenizer = WhisperTokenizer(vocab={letter: byte for byte, letter in byte_letters().items()}, merges=[])
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    with pytest.raises(InputError, match=r"the tokenizer has no <\|startoftranscript\|>: give a multilingual Whisper"):
        Trainer(whisper_config(model=str(folder)))
