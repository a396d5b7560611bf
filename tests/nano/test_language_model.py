"""The warm-up of nano's language model: what it copies, how its batches are shaped, and that it can be stopped."""

import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from osum.errors import InputError
from recipes.nano import language_model
from recipes.nano.tokenizer import train_tokenizer

SENTENCES = [f"the {animal} sat on the {place}" for animal in ("cat", "dog", "man") for place in ("mat", "log", "bed")]


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    train_tokenizer(SENTENCES * 5, folder / "tokenizer", vocab_size=290)
    rows = [{"id": str(number), "path": "a.wav", "text": text} for number, text in enumerate(SENTENCES)]
    for name in ("valid.jsonl", "stats.json"):
        (folder / name).write_text("", encoding="utf-8")
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(language_model, "TOKENS", 96)
    monkeypatch.setattr(language_model, "SAVE_EVERY", 2)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    monkeypatch.setattr(language_model, "SIZES", small | {"num_key_value_heads": 1})
    monkeypatch.setattr(language_model.texts, "sentences", lambda *_: [])
    return folder


@given(ids=st.lists(st.integers(260, 290), max_size=40), seed=st.integers(0, 99))
def test_what_is_misheard_is_never_empty_and_holds_only_tokens_and_blanks(ids, seed):
    row = language_model.misheard(ids, 300, random.Random(seed))
    assert row and all(token == -1 or 260 <= token < 300 for token in row)


@given(lengths=st.lists(st.integers(1, 59), min_size=1, max_size=80), seed=st.integers(0, 9))
def test_every_sentence_is_in_one_batch_of_a_pass_and_no_batch_is_too_large(lengths, seed):
    rows = [[number] * length for number, length in enumerate(lengths)]
    seen = []
    for batch in language_model.batches(rows, seed):
        assert len(batch) <= language_model.num_rows(language_model.padded_length(batch))
        seen += [ids[0] for ids in batch]
        if len(seen) >= len(rows):
            break
    assert sorted(seen) == list(range(len(rows)))


def test_rows_that_fill_a_batch_change_no_loss(data, monkeypatch):
    tokenizer = language_model.AutoTokenizer.from_pretrained(data / "tokenizer")
    model = language_model.new_model(tokenizer)
    batch = [[261, 262, 2], [263, 2]]
    with torch.no_grad():
        full = language_model.continuing_loss(model, batch, 2)
        monkeypatch.setattr(language_model, "TOKENS", 3 * 6 * len(batch))
        alone = language_model.continuing_loss(model, batch, 2)
    torch.testing.assert_close(full, alone)


def test_a_stopped_warm_up_continues_as_if_it_had_not_been_stopped(data, tmp_path, monkeypatch):
    language_model.train(data, tmp_path, tmp_path / "whole", 4, seed=1)
    saved = language_model._save

    def stop_after_saving(*arguments):
        saved(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(language_model, "_save", stop_after_saving)
    with pytest.raises(KeyboardInterrupt):
        language_model.train(data, tmp_path, tmp_path / "stopped", 4, seed=1)
    monkeypatch.setattr(language_model, "_save", saved)
    language_model.train(data, tmp_path, tmp_path / "stopped", 4, seed=1)
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys() and all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.parametrize("name", ["train.jsonl", "valid.jsonl", "stats.json", "tokenizer/tokenizer.json"])
def test_a_data_folder_that_is_half_built_is_reported_and_nothing_is_written(data, tmp_path, name):
    (data / name).unlink()
    with pytest.raises(InputError, match=f"is half built, {name} is missing: run python -m recipes.nano.build again"):
        language_model.train(data, tmp_path, tmp_path / "lm", 2, 1)
    assert not (tmp_path / "lm").exists()


def test_a_tokenizer_without_a_language_is_reported_with_the_text_that_it_loses(data, tmp_path):
    words = {word: number for number, word in enumerate(("[UNK]", "the", "old", "man", "and", "sea"))}
    model = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]").save_pretrained(data / "tokenizer")
    with pytest.raises(InputError, match=r"makes '\[UNK\]' of '今天天气很好': build the data with texts of both"):
        language_model.train(data, tmp_path, tmp_path / "lm", 2, 1)
